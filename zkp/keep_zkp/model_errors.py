"""What does not fit a model, in words for people: where, what is wrong, and what would be right."""

from __future__ import annotations

from pydantic import ValidationError

MAX_PLACE = 64


def first_wrong(error: ValidationError) -> str:
    """Say in words the first thing that does not fit; no value of others."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part)[:MAX_PLACE] for part in first["loc"])
    context = first.get("ctx", {})
    match first["type"]:
        case "value_error":
            return f"{where}: {context['error']}".removeprefix(": ")
        case "literal_error":
            what = f"must be {context['expected']}"
        case "too_long":
            what = f"has {context['actual_length']} items; {context['max_length']} is the most"
        case "string_too_long":
            what = f"has {len(first['input'])} characters; {context['max_length']} is the most"
        case "greater_than_equal":
            what = f"must be {context['ge']} or more"
        case "less_than_equal":
            what = f"must be {context['le']} or less"
        case kind:
            what = _WRONG.get(kind) or f"is wrong: {first['msg']}"
    return f"{where} {what}".strip()


_WRONG = {
    "missing": "is missing",
    "extra_forbidden": "is not known here: leave it out",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "has characters that are not allowed there",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number, not in quotes",
    "too_short": "must not be empty",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
