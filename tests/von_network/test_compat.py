"""The stand-ins, each against what plenum needs of it, in the node venv where they live."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOM = Path(__file__).parents[2] / "von-network"
VENV = Path(os.environ.get("INDYKEEP_NODE_VENV") or ROOM.parent / ".indykeep" / "node-venv")


def run(script: str, *words: str) -> str:
    """Run Python in the node venv with everything installed; its asserts are ours."""
    prelude = "import sys\nfrom keep_network import compat\ncompat.install()\n"
    result = subprocess.run(
        [str(VENV / "bin" / "python"), "-P", "-W", "ignore", "-c", prelude + script, *words],
        env=os.environ | {"PYTHONPATH": str(ROOM)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_no_store_that_nobody_uses_is_missed_in_the_log() -> None:
    assert run("import storage.kv_store_leveldb_int_keys") == ""


def test_ujson_refuses_sort_keys_so_that_state_roots_are_those_of_real_nodes() -> None:
    run("""
import ujson
for write in ujson.dumps, ujson.encode:
    try:
        write({}, sort_keys=True)
    except TypeError:
        continue
    raise AssertionError("sort_keys was accepted")
from common.serializers.json_serializer import JsonSerializer
assert JsonSerializer.dumps({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
""")


def test_ujson_writes_nested_messages_as_objects() -> None:
    run("""
import ujson
class Named:
    def __iter__(self): return iter("xy")
    def _asdict(self): return {"a": 1}
class Told(Named):
    def toDict(self): return {"b": [Named()]}
class Plain:
    def __init__(self): self.shown, self._hidden = 1, 2
assert ujson.dumps({"m": Told()}) == '{"m":{"b":[{"a":1}]}}'
assert ujson.dumps([b"x", {1}, (2,), Plain()]) == '["x",[1],[2],{"shown":1}]'
assert ujson.dumps("é") == '"\\\\u00e9"' and ujson.dumps("é", ensure_ascii=False) == '"é"'
assert ujson.loads(ujson.dumps({"a": [None, True, 1.5]})) == {"a": [None, True, 1.5]}
""")


def test_rlp_gives_the_bytes_of_the_yellow_paper_and_reads_them_back() -> None:
    run("""
import random, rlp
known = [
    (b"dog", "83646f67"), (b"", "80"), (b"\\0", "00"), (b"\\x7f", "7f"), (b"\\x80", "8180"),
    ([b"cat", b"dog"], "c88363617483646f67"), ([], "c0"), (0, "80"), (15, "0f"), (1024, "820400"),
    ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"), (b"a" * 55, "b7" + "61" * 55),
    (b"a" * 56, "b838" + "61" * 56), ([b"a"] * 56, "f838" + "61" * 56), ("é", "82c3a9"),
]
for item, code in known:
    assert rlp.encode(item).hex() == code, item
def some(depth):
    if depth and random.random() < 0.5:
        return [some(depth - 1) for _ in range(random.randrange(5))]
    return random.randbytes(random.choice([0, 1, 2, 55, 56, 300]))
for seed in range(2000):
    random.seed(seed)
    item = some(4)
    assert rlp.decode(rlp.encode(item)) == item, seed
""")


def test_rlp_refuses_what_is_not_canonical() -> None:
    run("""
import rlp
bad = {
    "": "nothing", "83646f": "cut short", "83646f6700": "bytes left over",
    "8100": "a single byte as a string", "b80161": "long form of a short length",
    "b900386161": "a length that starts with zero", "c883636174": "a list cut short",
    "c283646f67": "an item longer than its list", "b8": "no length where one must be",
}
for code, why in bad.items():
    try:
        found = rlp.decode(bytes.fromhex(code))
    except rlp.DecodingError:
        continue
    raise AssertionError((why, found))
""")


def test_rlp_refuses_to_encode_what_has_no_form() -> None:
    run("""
import rlp
for item in (-1, 1.5, None, {"a": 1}, [b"", object()]):
    try:
        rlp.encode(item)
    except rlp.EncodingError:
        continue
    raise AssertionError(item)
""")


def test_an_ordered_set_keeps_order_and_pops_from_both_ends() -> None:
    run("""
from orderedset import OrderedSet
queue = OrderedSet([3, 1, 2, 1])
assert list(queue) == [3, 1, 2] and list(reversed(queue)) == [2, 1, 3] and len(queue) == 3
queue.add(3)
assert queue.pop(last=False) == 3 and queue.pop() == 2 and list(queue) == [1]
queue.discard(7)
queue.update([5, 4], [1])
assert list(queue) == [1, 5, 4] and queue[0] == 1 and queue[-1] == 4 and queue.index(5) == 1
assert queue[1:] == OrderedSet([5, 4]) != OrderedSet([4, 5]) and queue == {4, 5, 1}
assert list(queue.union([9])) == [1, 5, 4, 9] and list(queue | OrderedSet([0])) == [1, 5, 4, 0]
assert list(queue - {5}) == [1, 4] == list(queue.difference([5]))
assert queue.intersection([4, 5]) == OrderedSet([5, 4])
assert queue.issuperset([1]) and OrderedSet([1]).issubset(queue) and not queue.issubset([1])
copy = queue.copy()
copy.difference_update(copy)
assert not copy and len(queue) == 3
for wrong, error in ((copy.pop, KeyError), (lambda: queue.index(77), ValueError)):
    try:
        wrong()
    except error:
        continue
    raise AssertionError(wrong)
""")


def test_the_transaction_log_is_read_back_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    run(
        """
from storage.kv_store_rocksdb_int_keys import KeyValueStorageRocksdbIntKeys as Store
store = Store(sys.argv[1], "log")
numbers = [9, 10, 1, 255, 256, 70000, 2**40, 2]
store.setBatch([(str(n), str(n)) for n in numbers])
assert [int(key) for key in store.iterator(include_value=False)] == sorted(numbers)
store.remove("255")
store.close()
store = Store(sys.argv[1], "log")
assert [int(value) for _, value in store.iterator(start="9")] == [9, 10, 256, 70000, 2**40]
assert int(store.get_last_key()) == 2**40
assert bytes(store.get("70000")) == b"70000" and store.has_key("10") and not store.has_key("255")
assert store.get_equal_or_prev("200") == b"10"
""",
        str(tmp_path),
    )


def test_integer_keys_sort_as_numbers_whatever_their_size_and_sign() -> None:
    run("""
import random
from keep_network.compat.rocksdb import _int_key, _int_text
numbers = [0, 1, -1, 127, 128, -128, -129, 255, 256, -255, -256, 2**64, -(2**64)]
numbers += [random.Random(1).randrange(-(2**70), 2**70) for _ in range(2000)]
texts = [str(number).encode() for number in numbers]
assert [_int_text(_int_key(text)) for text in texts] == texts
assert sorted(numbers) == [int(text) for text in sorted(texts, key=_int_key)]
""")


def test_a_batch_is_written_whole_and_a_closed_store_opens_again(tmp_path: Path) -> None:
    run(
        """
import rocksdb
options = rocksdb.Options()
options.create_if_missing = True
options.db_log_dir = "/dev/null"
options.table_factory = rocksdb.BlockBasedTableFactory(
    block_size=4096, block_cache=rocksdb.LRUCache(1 << 20))
batch = rocksdb.WriteBatch()
batch.put(b"a", b"1"); batch.put(b"b", b"2"); batch.delete(b"a"); batch.put(b"c", b"3")
db = rocksdb.DB(sys.argv[1] + "/db", options)
db.write(batch, sync=True)
try:
    rocksdb.DB(sys.argv[1] + "/db", options)
except Exception:
    pass
else:
    raise AssertionError("two writers on one store")
db.close(); db.close()
db = rocksdb.DB(sys.argv[1] + "/db", options, read_only=True)
cursor = db.iteritems(); cursor.seek_to_first()
assert list(cursor) == [(b"b", b"2"), (b"c", b"3")]
cursor = db.iterkeys(); cursor.seek_for_prev(b"bb")
assert next(cursor) == b"b"
cursor = db.itervalues(); cursor.seek(b"bb")
assert list(cursor) == [b"3"]
assert db.key_may_exist(b"a") == (False, None) and db.get(b"b") == b"2"
""",
        str(tmp_path),
    )


def test_bls_signs_and_aggregates_without_the_library_talking_to_python() -> None:
    run("""
from ursa.bls import Bls, Generator, MultiSignature, SignKey, VerKey
from ursa.indy_error import IndyCryptoError
import indy_bls.lib
assert issubclass(IndyCryptoError, Exception)
import io, logging
logged = io.StringIO()
logging.basicConfig(level=0, stream=logged, force=True)
assert indy_bls.lib._set_logger.__module__ == "keep_network.compat.ursa_bls"
generator = Generator.new()
keys = [SignKey.new(bytes([n]) * 32) for n in range(3)]
vers = [VerKey.new(generator, key) for key in keys]
signatures = [Bls.sign(b"root", key) for key in keys]
both = MultiSignature.new(signatures)
assert Bls.verify_multi_sig(both, b"root", vers, generator)
assert not Bls.verify_multi_sig(both, b"rooT", vers, generator)
assert not Bls.verify_multi_sig(both, b"root", vers[:2], generator)
assert keys[0].as_bytes() and logged.getvalue() == ""
""")


def test_stored_data_with_integer_keys_can_be_read_back() -> None:
    run("""
import msgpack
assert msgpack.unpackb(msgpack.packb({1: "a"})) == {1: "a"}
""")


def test_base58_is_remembered_and_its_errors_are_not() -> None:
    run("""
import base58
assert base58.b58decode("2g") == base58.b58decode(b"2g") == base58.b58decode(bytearray(b"2g")) == b"a"
for _ in range(2):
    try:
        base58.b58decode("0")
    except ValueError:
        continue
    raise AssertionError("0 is no base58 letter")
""")


def test_libsodium_comes_with_a_wheel_where_the_system_has_none() -> None:
    run("""
import ctypes.util, libnacl
from keep_network.compat import sodium
assert any(str(path) == libnacl.nacl._name for path in sodium._candidates())
assert ctypes.util.find_library.__module__ == "ctypes.util"
""")


def test_every_module_of_a_node_can_be_imported() -> None:
    run("""
import importlib
for name in ("indy_node.server.node", "plenum.common.test_network_setup", "keep_network.looper"):
    importlib.import_module(name)
""")


def test_what_the_stubs_say_of_the_nodes_packages_is_so() -> None:
    """Every name is there, and takes the arguments: the type checkers see only the stubs."""
    checked, *faults = run(STUBS, str(ROOM.parent / "typings")).splitlines()[-1].split(";")
    assert int(checked) > 30
    assert faults == []


STUBS = """
import ast, importlib, inspect
from pathlib import Path

def there(owner, name):
    if hasattr(owner, name) or name in dict(getattr(owner, "schema", ())):
        return True
    ours = [cls for cls in getattr(owner, "__mro__", ()) if cls.__module__ != "builtins"]
    return any(f"self.{name}" in inspect.getsource(cls) for cls in ours)

def takes(function, told):
    try:
        theirs = inspect.signature(function).parameters
    except ValueError:  # not written in Python
        return True
    ours = [one.arg for one in told.args]
    if any(one.kind is one.VAR_KEYWORD for one in theirs.values()):
        return True
    return ours == [*theirs][:len(ours)] and {one.arg for one in told.kwonlyargs} <= {*theirs}

def faults(owner, nodes):
    for node in nodes:
        name = getattr(getattr(node, "target", node), "id", getattr(node, "name", None))
        if name is None or isinstance(node, ast.ClassDef) and name.startswith("_"):
            continue  # not a name, or one of the stub alone
        if not there(owner, name):
            yield f"{owner.__name__}.{name} is not there"
        elif isinstance(node, ast.ClassDef):
            yield from faults(getattr(owner, name), node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list:
            if not takes(getattr(owner, name), node.args):
                yield f"{owner.__name__}.{name} takes other arguments"

checked, found, folder = 0, [], Path(sys.argv[1])
for file in sorted(folder.rglob("*.pyi")):
    name = ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        continue  # not a package of the nodes
    checked += 1
    found += faults(module, ast.parse(file.read_text()).body)
print(checked, *found, sep=";")
"""


def test_idle_nodes_are_waited_for_and_not_polled() -> None:
    """The loop asks the node's timer and sockets; a due timer makes it wait almost nothing."""
    run("""
from types import SimpleNamespace as Some
from plenum.common.timer import QueueTimer
from keep_network import looper
clock = [100.0]
timer = QueueTimer(lambda: clock[0])
stack = Some(listener=None, remotes={})
node = Some(timer=timer, nodestack=stack, clientstack=stack)
assert looper._until_timer(node) == looper.IDLE_WAIT_S and looper._sockets(node) == []
timer.schedule(0.01, print)
assert 0.009 < looper._until_timer(node) < 0.011
timer.schedule(-1, print)
assert looper._until_timer(node) < 0
live, closed = Some(closed=False), Some(closed=True)
remotes = {1: Some(socket=closed), 2: Some(socket=None), 3: Some(socket=live)}
node = Some(nodestack=Some(listener=live, remotes=remotes), clientstack=stack)
assert looper._sockets(node) == [live, live]
""")


def test_names_that_python_dropped_are_back_and_those_it_has_are_untouched() -> None:
    run("""
import asyncio.coroutines, collections, collections.abc, hashlib
assert collections.Mapping is collections.abc.Mapping
assert collections.OrderedDict.__module__ == "collections"
assert isinstance(asyncio.coroutines.CoroWrapper, type)
from _sha256 import sha256
assert sha256(b"a").hexdigest() == hashlib.sha256(b"a").hexdigest()
""")


def test_the_backport_of_importlib_metadata_is_the_standard_library() -> None:
    run("""
import importlib_metadata, importlib.metadata
assert importlib_metadata is importlib.metadata
assert importlib_metadata.version("indy-node") == "1.13.2"
""")


def test_the_authenticator_of_the_nodes_can_be_made() -> None:
    run("""
import zmq.auth.thread
class Some:
    "doc"
assert zmq.auth.thread._inherit_docstrings(Some) is Some
from stp_zmq.authenticator import AsyncioAuthenticator
""")


def test_a_sortedcontainers_that_kills_nodes_at_their_restart_is_refused() -> None:
    run("""
import sortedcontainers
from keep_network.compat import packages
packages._sortedcontainers()
sortedcontainers.__version__ = "2.4.0"
try:
    packages._sortedcontainers()
except ImportError as error:
    assert "1.5.7" in str(error)
else:
    raise AssertionError("2.4.0 was taken")
""")


def test_databases_stay_small_in_memory(tmp_path: Path) -> None:
    """Some 90 of them are open in one process; what they hold must not add up."""
    run(
        """
import rocksdb
options = rocksdb.Options()
options.create_if_missing = True
db = rocksdb.DB(sys.argv[1] + "/db", options)
for number in range(3000):
    db.put(b"%d" % number, b"x" * 1000)
assert db.rows.property_int_value("rocksdb.cur-size-all-mem-tables") < 1 << 20
assert db.get(b"0") == db.get(b"2999") == b"x" * 1000
""",
        str(tmp_path),
    )


def test_the_settings_are_ours_and_a_file_of_the_user_wins(tmp_path: Path) -> None:
    run(
        """
from pathlib import Path
from keep_network import settings
folder = Path(sys.argv[1])
config = settings.load(folder)
assert config.Max3PCBatchWait == 0.05 and config.LOG_SIZE == 3 * config.CHK_FREQ
assert config.LEDGER_DIR == str(folder / "data")
(folder / "etc" / "indy_config.py").write_text("NETWORK_NAME = 'sandbox'\\nCHK_FREQ = 7\\n")
assert settings.load(folder).CHK_FREQ == 7
""",
        str(tmp_path),
    )


def test_a_node_hears_only_its_side_of_a_partition(tmp_path: Path) -> None:
    run(
        """
from pathlib import Path
from keep_network import cut
folder = Path(sys.argv[1])
node = cut.Cut(folder, "Node1")
assert not node.bars("Node2")
cut.save(folder, [["Node1", "Node2"], ["Node3"]])
assert not node.bars("Node2") and node.bars("Node3") and node.bars("Node4")
cut.save(folder, [["Node3"], ["Node2"]])
assert node.bars("Node2") and node.bars("Node3")
cut.save(folder, [])
assert not node.bars("Node3") and cut.groups(folder) == []
""",
        str(tmp_path),
    )


def test_a_barred_peer_is_disconnected_and_not_heard_until_it_is_back(tmp_path: Path) -> None:
    run(
        """
from types import SimpleNamespace as Some
from plenum.common.stacks import NodeZStack
from keep_network.stack import CuttableStack
barred, calls = set(), []
def note(name, told=None):
    return lambda self, *words, **_: calls.append((name, *words)) or told
for name in ("disconnectByName", "reconnectRemoteWithName", "transmit", "_verifyAndAppend"):
    setattr(NodeZStack, name, note(name, True))
stack = CuttableStack.__new__(CuttableStack)
stack._remotes = {"Node2": Some(name="Node2", socket=object())}
stack.remotesByKeys = {b"2": stack._remotes["Node2"]}
CuttableStack.remotes = property(lambda self: self._remotes)
stack.cut = Some(bars=lambda peer: peer in barred)
assert stack.obey() is False and calls == []
assert stack.transmit("hi", "Node2") is True and stack._verifyAndAppend(b"hi", b"2") is True
calls.clear()
barred.add("Node2")
assert stack.obey() is False and calls == [("disconnectByName", "Node2")]
assert stack.transmit("hi", "Node2")[0] is False
assert stack._verifyAndAppend(b"hi", b"2") is False and len(calls) == 1
barred.clear()
assert stack.obey() is True and calls[1:] == [("reconnectRemoteWithName", "Node2")]
assert stack.obey() is False
""",
        str(tmp_path),
    )


def test_a_batch_that_too_few_nodes_have_goes_to_more(tmp_path: Path) -> None:
    run(
        """
from pathlib import Path
from keep_network import mend, record
from keep_network.compat import rocksdb
network = record.Network(Path(sys.argv[1]), "net", 4, 9701)
assert mend.mend(network) == []  # never started
def node(number, batches):
    options = rocksdb.Options()
    options.create_if_missing, options.comparator = True, rocksdb.IComparator()
    place = mend._folder(network, number) / "audit_transactions"
    place.mkdir(parents=True, exist_ok=True)
    log = rocksdb.DB(str(place), options)
    for entry in range(1, batches + 1):
        log.put(str(entry).encode(), b"batch")
    log.close()
    (place.parent / "node_info").write_text(str(number))
batches = lambda: [mend._batches(mend._folder(network, n)) for n in network.numbers]
for number, count in enumerate((300, 300, 299, 12), 1):
    node(number, count)
assert mend.mend(network) == [] and batches() == [300, 300, 299, 12]
node(3, 301)  # alone
assert mend.mend(network) == [1] and batches() == [301, 300, 301, 12]
assert (mend._folder(network, 1) / "node_info").read_text() == "1"
assert mend.mend(network) == []
network = record.Network(Path(sys.argv[1]), "net", 7, 9701)
for number, count in enumerate((301, 302, 302, 301, 300, 301, 299), 1):
    node(number, count)
changed = mend.mend(network)  # two of seven may lie, so three must have it
assert len(changed) == 1 and batches().count(302) == 3
""",
        str(tmp_path),
    )
