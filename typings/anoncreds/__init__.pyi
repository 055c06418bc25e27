# The part of anoncreds 0.2.3 that this project uses.

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Self

class AnoncredsErrorCode(IntEnum):
    INPUT = 1
    PROOF_REJECTED = 7

class AnoncredsError(Exception):
    code: AnoncredsErrorCode

class _Object:
    @classmethod
    def load(cls, value: str | dict[str, Any], /) -> Self: ...
    def to_dict(self) -> dict[str, Any]: ...
    def to_json(self) -> str: ...

class Schema(_Object):
    @classmethod
    def create(
        cls, name: str, version: str, issuer_id: str, attr_names: Sequence[str]
    ) -> Self: ...

class CredentialDefinitionPrivate(_Object): ...
class KeyCorrectnessProof(_Object): ...

class CredentialDefinition(_Object):
    @classmethod
    def create(
        cls,
        schema_id: str,
        schema: Schema,
        issuer_id: str,
        tag: str,
        signature_type: str,
        *,
        support_revocation: bool = False,
    ) -> tuple[CredentialDefinition, CredentialDefinitionPrivate, KeyCorrectnessProof]: ...

class CredentialOffer(_Object):
    @classmethod
    def create(
        cls, schema_id: str, cred_def_id: str, key_proof: KeyCorrectnessProof
    ) -> Self: ...

class CredentialRequestMetadata(_Object): ...

class CredentialRequest(_Object):
    @classmethod
    def create(
        cls,
        entropy: str | None,
        prover_did: str | None,
        cred_def: CredentialDefinition,
        link_secret: str,
        link_secret_id: str,
        cred_offer: CredentialOffer,
    ) -> tuple[CredentialRequest, CredentialRequestMetadata]: ...

class Credential(_Object):
    @classmethod
    def create(
        cls,
        cred_def: CredentialDefinition,
        cred_def_private: CredentialDefinitionPrivate,
        cred_offer: CredentialOffer,
        cred_request: CredentialRequest,
        attr_raw_values: Mapping[str, str],
    ) -> Self: ...
    def process(
        self,
        cred_req_metadata: CredentialRequestMetadata,
        link_secret: str,
        cred_def: CredentialDefinition,
    ) -> Credential: ...

class PresentationRequest(_Object): ...

class PresentCredentials:
    def add_attributes(
        self, cred: Credential, *referents: str, reveal: bool = True
    ) -> None: ...
    def add_predicates(self, cred: Credential, *referents: str) -> None: ...

class Presentation(_Object):
    @classmethod
    def create(
        cls,
        pres_req: PresentationRequest,
        present_creds: PresentCredentials,
        self_attest: Mapping[str, str] | None,
        link_secret: str,
        schemas: Mapping[str, Schema],
        cred_defs: Mapping[str, CredentialDefinition],
    ) -> Self: ...
    def verify(
        self,
        pres_req: PresentationRequest,
        schemas: Mapping[str, Schema],
        cred_defs: Mapping[str, CredentialDefinition],
    ) -> bool: ...

def create_link_secret() -> str: ...
def encode_credential_attributes(attr_raw_values: Mapping[str, str]) -> dict[str, str]: ...
def generate_nonce() -> str: ...
def library_version() -> str: ...
