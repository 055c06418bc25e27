"""Control shared by several people. Pure: no ledger, no store, no network.

It needs the extra `multisig`.
Nothing is imported here: take what you need from its module. This is all of the public surface.

| module | what is in it |
|---|---|
| `errors` | `MultisigError`, `RefusedError` (names the culprits), `SpentError`, `RecoveryError` |
| `shares` | `Group`, `Share`, `Commitment`, `Nonces`, `SignatureShare`: what is kept and handed over |
| `frost` | `commit`, `sign`, `aggregate`, `signed_digest`: a signature in two rounds; `Vault`: where nonces lie |
| `vault` | `NonceFiles`: a `Vault` in a folder |
| `files` | `write_private`, `sync_folder`: what must survive a kill between two rounds |
| `dkg` | `Ceremony`, `begin`, `deal_out`, `finish`, `transcript`: a new key, or one handed on; `Dealing`, `Round1Package`, `Round2Package` |
| `rounds` | `Hello`, `Sealed`, `Begun`, `parties`, `begin`, `agreed`, `deal`, `finish`: the steps of a ceremony as files for any carrier |
| `dealer` | `split_seed`, `split_new`: a key that one party knows |
| `drill` | `Challenge`, `answer`, `answer_with`, `Answer`, `check`, `Drill`, `last_proven`, `overdue` |
| `recovery` | `Circle`, `Plan`, `split`, `PaperShare`, `Backup`, `restore`, `replace`, `answer_with_words` |
| `sheets` | `sheet`, `qr_svg`: shares on paper |
| `rules` | `RuleKey`, `Constraint` (`Role`, `And`, `Or`, `Forbidden`), `parse_constraint`, `leaves`, `Signer`, `owner_counts`, `satisfied`, `missing`, `refusal`, `sentence`, `who` |
| `applicable` | `Before`, `applicable`: which rules a write must meet |
| `quorum` | `quorums`, `Quorum`, `Way`, `Action`: what an action takes, by whatever way |
| `reach` | `Game`, `Stand` and the moves in it: how quorum finds out |
| `lints` | `lints`, `Lint`, `what_if`, `Differences`, `Difference`, `changes`, `takeover` |
| `defaults` | `DEFAULTS`: the rules of a ledger that nobody changed, and the names of all |
| `soundness` | `check`, `enough`, `others`, `same`: whether rules keep what they promise |
| `presets` | `preset`: files of wanted quorums to begin with |
| `governance` | `parse`, `Governance` (`Trustees`, `Topics`, `Recovery`), `wanted_rules`, `cautions`, `diff`, `Change`, `operation`, `change_to`: wanted quorums as a file, and the rules that make them so |
| `signing` | `signing_input`, `digest`: what is signed of a request |
| `unmistakable` | `hides_nothing`, `spelled`: rules under whose signature no other rules fit |
| `fields` | `base58_of`, `visible`, `without`: the values in requests |
| `operations` | a closed schema per type: `Operation`, `Closed`, `Nym`, `Attrib`, `SchemaData`, `Schema`, `Primary`, `Revocation`, `ClaimDefData`, `ClaimDef`, `AccumulatorKey`, `RegistryKeys`, `RegistryValue`, `RegistryDef`, `EntryValue`, `RegistryEntry`, `NodeData`, `Node`, `Agreement`, `Mechanisms`, `NoAgreement`, `RuleChange`, `AuthRule`, `AuthRules`, `Upgrade`, `PoolConfig`; `once` |
| `transactions` | `decode`, `Request`, `Acceptance`: a request with one meaning |
| `plain` | `told`, `Told`, `rule_key`, `moment`: a request in words |
| `proposal` | `Proposal`, `Body`, `Cosigner`, `Mark`, `merge`; `RefusedMarkError`, `WrongKeyError`: one format for M of N, endorsement and FROST |
| `container` | `packed`, `unpacked`: the CBOR of a proposal |
| `frames` | `to_frames`, `from_frames`: a proposal as QR codes |
| `review` | `review`, `Sheet`, `Sight`, `Person`: what a cosigner sees, and why it must not be signed or sent |
| `past` | `Past`, `Was`, `Moment`, `kept_digest`, `request_of`, `subject_of`: what was so at an earlier time |
| `audit` | `audit`, `Report`, `Entry`, `Signed`, `Approved`, `Alarm`, `entry`, `parts_of`, `explain`, `differences`, `verifies`: who signed what an identity wrote |
| `loose` | `loose`, `Pending`, `Agreement`, `Ledger`, `Loose`, `ledger_now`, `agreements_of`, `acceptance_counts`, `roles_wanted`, `loose_sentences`: signatures that were given and not used |
| `reports` | `sentences`, `to_json`: an audit for people and for programs |
| `picture` | `picture`: quorums as an SVG for people |
| `descriptor` | `Descriptor`, `Person`, `rule_digest`: the public description of a group |

`curve` is the group beneath, `rule_words` the words of `rules`; `Wire`, `Json` and the field types of `shares` are for modules in here.
"""
