"""Control shared by several people. Pure: no ledger, no store, no network.

It needs the extra `multisig`.
Nothing is imported here: import what you need from its module. This is the whole public surface.

| module | what is in it |
|---|---|
| `errors` | `MultisigError`, `RefusedError` (names the culprits), `SpentError`, `RecoveryError` |
| `signatures` | `verifies`: an Ed25519 signature by libsodium |
| `threshold.shares` | `Group`, `Share`, `Commitment`, `Nonces`, `SignatureShare`: what is kept and handed over |
| `threshold.frost` | `commit`, `sign`, `aggregate`, `signed_digest`: a signature in two rounds; `Vault`: where nonces are kept |
| `threshold.nonce_files` | `NonceFiles`: a `Vault` in a folder |
| `threshold.dkg` | `Ceremony`, `begin`, `deal_out`, `finish`, `transcript`: a new key, or a resharing; `Dealing`, `Round1Package`, `Round2Package` |
| `threshold.dkg_files` | `Hello`, `Sealed`, `Begun`, `parties`, `begin`, `agreed`, `deal`, `finish`: the steps of a ceremony as files for any carrier |
| `threshold.dealer` | `split_seed`, `split_new`: a key that one party knows |
| `threshold.share_drill` | `Challenge`, `answer`, `answer_with`, `Answer`, `check`, `Drill`, `last_proven`, `overdue` |
| `recovery.slip39` | `Circle`, `Plan`, `split`, `PaperShare`, `Backup`, `restore`, `replace`, `answer_with_words` |
| `recovery.paper_sheets` | `sheet`, `qr_svg`: shares on paper |
| `rules.auth_rules` | `RuleKey`, `Constraint` (`Role`, `And`, `Or`, `Forbidden`), `parse_constraint`, `leaves`, `Signer`, `owner_counts`, `satisfied`, `missing`, `refusal`, `sentence`, `who` |
| `rules.applicable_rules` | `Before`, `applicable`: which rules a write must meet |
| `rules.quorum` | `quorums`, `Quorum`, `Way`, `Action`: the smallest coalitions for an action, directly or indirectly |
| `rules.reachability` | `Game`, `Position` and its moves: the search for quorums |
| `rules.lints` | `lints`, `Lint`, `what_if`, `Differences`, `Difference`, `changes`, `takeover` |
| `rules.default_rules` | `DEFAULTS`: the rules of a ledger that nobody changed, and the names of all |
| `rules.soundness` | `check`, `enough`, `others`, `same`: whether rules lock nobody out and cannot be circumvented |
| `rules.presets` | `preset`: files of wanted quorums to begin with |
| `rules.governance_file` | `parse`, `Governance` (`Trustees`, `Topics`, `Recovery`), `wanted_rules`, `cautions`, `diff`, `Change`, `operation`, `change_to`: wanted quorums as a file, and the rules that put them in force |
| `proposal.signing_input` | `signing_input`, `digest`: what is signed of a request |
| `rules.single_reading` | `hides_nothing`, `spelled`: rules whose signature is valid for no other rules |
| `proposal.field_types` | `base58_of`, `visible`, `without`: the values in requests |
| `proposal.invisible` | `is_invisible`, `find_invisible`, `with_marks`, `marks`, `code`, `place`: what a reader does not see of a text |
| `proposal.operations` | a closed schema per type: `Operation`, `Closed`, `Nym`, `Attrib`, `SchemaData`, `Schema`, `Primary`, `Revocation`, `ClaimDefData`, `ClaimDef`, `AccumulatorKey`, `RegistryKeys`, `RegistryValue`, `RegistryDef`, `EntryValue`, `RegistryEntry`, `NodeData`, `Node`, `Agreement`, `Mechanisms`, `NoAgreement`, `RuleChange`, `AuthRule`, `AuthRules`, `Upgrade`, `PoolConfig` |
| `proposal.request_decoder` | `decode`, `Request`, `Acceptance`: a request with one meaning |
| `proposal.describe_request` | `describe`, `Description`, `rule_key`, `moment`: a request in words |
| `proposal.document` | `Proposal`, `Body`, `Cosigner`, `Mark`, `merge`; `RefusedMarkError`, `WrongKeyError`: one format for M of N, endorsement and FROST |
| `proposal.cbor_container` | `packed`, `unpacked`: the CBOR of a proposal |
| `proposal.qr_frames` | `to_frames`, `from_frames`: a proposal as QR codes |
| `proposal.review` | `review`, `Sheet`, `LedgerView`, `Person`: what a cosigner sees of a proposal, and the reasons not to sign or send it |
| `audit.key_history` | `KeyHistory`, `KeyState`, `Moment`, `kept_digest`, `request_of`, `subject_of`: keys and roles of DIDs at an earlier time, and requests behind transactions |
| `audit.identity_audit` | `audit`, `Report`, `Entry`, `CheckedSignature`, `ApprovedProposal`, `Alarm`, `entry`, `parts_of`, `explain`, `differences`: who signed what an identity wrote |
| `audit.unused_signatures` | `find_unused`, `Pending`, `Agreement`, `LedgerState`, `UnusedSignature`, `ledger_now`, `agreements_of`, `acceptance_counts`, `roles_wanted`, `unused_sentences`: signatures that were given and not used |
| `audit.reports` | `sentences`, `to_json`: an audit for people and for programs |
| `rules.quorum_picture` | `picture`: quorums as an SVG for people |
| `audit.control_descriptor` | `Descriptor`, `Person`, `rule_digest`: the public description of a group |

`threshold.curve` has the arithmetic, `rules.rule_words` and `audit.transaction_words` have the words of their rooms; `Wire` and the
field types of `threshold.shares` are for modules in here.
"""
