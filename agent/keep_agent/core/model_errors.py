"""What does not fit a model, in words for people: what peers send, and what callers ask for."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MOST_SAID = 3
WRONG = "is wrong: "


def explained(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Say in words what does not fit a model: where, what is wrong, and the limit; no value.

    Args:
        model: if given, its names are listed where one was given that it does not have.
    """
    found = error.errors(include_url=False)
    said = [_said(each) for each in found[:MOST_SAID]]
    more = len(found) - MOST_SAID
    words = "; ".join(said) + (f"; and {more} more" if more > 0 else "")
    extra = any(each["type"] == "extra_forbidden" and len(each["loc"]) == 1 for each in found)
    if model is None or not extra:
        return words
    return f"{words}; there are: {', '.join(model.model_fields) or 'none'}"


def _said(error: ErrorDetails) -> str:
    where, wrong = ".".join(map(str, error["loc"])), _wrong(error)
    return f"{where} {wrong}" if where else wrong.removeprefix(WRONG)


def _wrong(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "string_too_long":
            return f"has {len(error['input'])} characters; {context['max_length']} is the most"
        case "too_long":
            return f"has too many items; {context['max_length']} is the most"
        case "value_error":
            return f"{WRONG}{context['error']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return f"must have the form {context['pattern']}"
        case kind:
            return _WRONG.get(kind) or f"{WRONG}{error['msg']}"


_WRONG = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
