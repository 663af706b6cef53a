"""caffe.proto and caffe_pb2 against the tables of facts and against each other."""

import csv
import math
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, text_format
from google.protobuf.descriptor import FieldDescriptor

from deconvnet.core.proto import V1_TYPES, caffe_pb2

TESTS = Path(__file__).resolve().parents[1]
SCHEMA = Path(caffe_pb2.__file__).with_name("caffe.proto").read_text()


def rows_of(table):
    with open(TESTS / "facts" / table, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


FIELDS = rows_of("caffe_fields.tsv")
ENUMS = rows_of("caffe_enums.tsv")
MESSAGES = sorted(caffe_pb2.DESCRIPTOR.message_types_by_name.keys())
# messages that the facts do not know: our own, and those of the segmentation forks
FORKS = {"DenseImageDataParameter", "InterpParameter", "MatWriteParameter", "SegAccuracyParameter", "UpsampleParameter"}
# of SSD
DETECTION = {
    *("DetectionOutputParameter", "LabelMap", "LabelMapItem", "NonMaximumSuppressionParameter"),
    *("NormalizeParameter", "PermuteParameter", "PriorBoxParameter", "SaveOutputParameter"),
}
# and of Fast R-CNN, ShuffleNet, R-FCN, CRNN and CTPN
OTHERS = {
    *("ROIPoolingParameter", "SmoothL1LossParameter", "ShuffleChannelParameter", "PSROIPoolingParameter"),
    *("ContinuationIndicatorParameter", "ReverseParameter", "TransposeParameter", "LstmParameter"),
}
OURS = {"DataCursor", "CarriedState"} | FORKS | DETECTION | OTHERS
OUR_ENUMS = {"BNParameter.Engine", "PriorBoxParameter.CodeType"}


def message(name):
    return caffe_pb2.DESCRIPTOR.message_types_by_name[name]


def enum(name):
    """Descriptor of an enum by the name the tables use: "Phase" or "PoolingParameter.PoolMethod"."""
    outer, _, inner = name.rpartition(".")
    return message(outer).enum_types_by_name[inner] if outer else caffe_pb2.DESCRIPTOR.enum_types_by_name[inner]


def as_declared(name):
    """{field name: FieldDescriptorProto} of a message; these have label and default in every version of protobuf."""
    declared = descriptor_pb2.DescriptorProto()
    message(name).CopyToProto(declared)
    return {field.name: field for field in declared.field}


def type_name(field):
    if field.type_name:
        return field.type_name.removeprefix(".caffe.")
    return descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def label(field):
    return descriptor_pb2.FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()


def same_default(field, expected):
    if expected == "":
        return not field.HasField("default_value")
    if type_name(field) in ("float", "double"):
        return math.isclose(float(field.default_value), float(expected), rel_tol=1e-6)
    return field.default_value == expected


def test_the_tables_of_facts_are_complete():
    assert (len(FIELDS), len(ENUMS)) == (462, 139)


@pytest.mark.parametrize("row", FIELDS, ids=lambda row: f"{row['message']}.{row['field']}")
def test_field_has_the_number_label_type_default_and_packing_of_the_facts(row):
    field = as_declared(row["message"])[row["field"]]
    assert field.number == int(row["number"])
    assert label(field) == row["label"]
    assert type_name(field) == row["type"]
    assert same_default(field, row["default"])
    assert field.options.packed == (row["flags"] == "packed")


@pytest.mark.parametrize("row", ENUMS, ids=lambda row: f"{row['enum']}.{row['name']}")
def test_enum_value_has_the_number_of_the_facts(row):
    assert enum(row["enum"]).values_by_name[row["name"]].number == int(row["number"])


def test_fields_beyond_the_facts_have_numbers_no_other_caffe_uses():
    known = {(row["message"], row["field"]) for row in FIELDS}
    first = dict.fromkeys(("NetParameter", "SolverParameter", "SolverState"), 1000)
    ours = {}
    for name in MESSAGES:
        for field in message(name).fields:
            if (name, field.name) not in known and name not in OURS:
                ours[f"{name}.{field.name}"] = field.number
                assert field.number >= first.get(name, 200), f"{name}.{field.name}"
    # of DeconvNet and our own; then of the segmentation forks, in LayerParameter, in old syntax and in the messages of single layers; of SSD;
    # of Fast R-CNN and ShuffleNet, with the one in Dropout; of the reader of nets; of R-FCN and readers of text
    assert len(ours) == 8 + 8 + 11 + 2 + 1 + 1 + 1 + 1 + 1 + 5 + 5 + (3 + 8 + 2 + 2) + 4 + 3 + 1 + 2 + 5


def test_values_of_enums_beyond_the_facts_have_numbers_no_other_caffe_uses():
    known = {(row["enum"], row["name"]) for row in ENUMS}
    for name in {row["enum"] for row in ENUMS}:
        for value in enum(name).values:
            assert (name, value.name) in known or value.number >= 200


def test_layers_of_the_release_have_their_message_in_todays_syntax_too():
    today = as_declared("LayerParameter")
    for row in FIELDS:
        if row["origin"] == "noh" and row["message"] == "V1LayerParameter":
            assert type_name(today[row["field"]]) == row["type"]


def test_every_v1_type_has_a_name_of_today():
    assert set(V1_TYPES) == set(enum("V1LayerParameter.LayerType").values_by_name.keys())
    assert len(set(V1_TYPES.values())) == len(V1_TYPES)


def test_generated_module_is_that_of_caffe_proto():
    declared, owner = {}, None
    for line in SCHEMA.splitlines():
        line = line.split("//")[0]
        if opened := re.match(r"message (\w+)", line):
            owner = opened[1]
            declared[owner] = {}
        field = re.match(r"\s+(optional|repeated|required) ([\w.]+) (\w+) = (\d+)(?: \[(.*)\])?;", line)
        if field:
            word, kind, name, number, options = field.groups()
            default = re.search(r'default = "?([^"\]]*)', options or "")
            declared[owner][name] = (
                word,
                kind.rpartition(".")[2],
                int(number),
                default and default[1],
                "packed" in (options or ""),
            )
    generated = {}
    for name in MESSAGES:
        generated[name] = {}
        for field in as_declared(name).values():
            default = field.default_value if field.HasField("default_value") else None
            kind = type_name(field).rpartition(".")[2]
            generated[name][field.name] = (label(field), kind, field.number, default, field.options.packed)
    for name, fields in declared.items():
        for field, (word, kind, number, default, packed) in fields.items():
            assert generated[name][field][:3] == (word, kind, number)
            assert generated[name][field][4] == packed
            assert same_default(as_declared(name)[field], default or "")
    assert {name: set(fields) for name, fields in declared.items()} == {n: set(f) for n, f in generated.items()}


def test_generated_enums_are_those_of_caffe_proto():
    text = re.sub(r"//[^\n]*", "", SCHEMA)
    declared, owner = {}, ""
    for part in re.finditer(r"^message (\w+)|^( *)enum (\w+) \{([^}]*)\}", text, re.MULTILINE):
        if part[1]:
            owner = part[1] + "."
        else:
            values = {name: int(number) for name, number in re.findall(r"(\w+) = (\d+);", part[4])}
            declared[(owner if part[2] else "") + part[3]] = values
    assert set(declared) == {row["enum"] for row in ENUMS} | OUR_ENUMS
    for name, values in declared.items():
        assert {v.name: v.number for v in enum(name).values} == values


def filled(descriptor):
    """A message with every field set to a value that is not its default."""
    made = getattr(caffe_pb2, descriptor.name)()
    for field in descriptor.fields:
        if field.message_type:
            value = filled(field.message_type)
        elif field.enum_type:
            value = next(v.number for v in field.enum_type.values if v.number != field.default_value)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            value = b"\x00\xff" if field.type == FieldDescriptor.TYPE_BYTES else 'a "quoted" \u00e9'
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            value = not field.default_value
        else:
            value = 3
        current = getattr(made, field.name)
        if hasattr(current, "extend"):
            current.extend([value, value])
        elif field.message_type:
            current.CopyFrom(value)
        else:
            setattr(made, field.name, value)
    return made


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_survives_bytes_and_text(name):
    full = filled(message(name))
    assert len(full.ListFields()) == len(message(name).fields)
    assert type(full).FromString(full.SerializeToString()) == full
    assert text_format.Parse(text_format.MessageToString(full), type(full)()) == full


def test_bytes_are_those_of_the_wire_format():
    blob = caffe_pb2.BlobProto(data=[1.0, -2.0], shape=caffe_pb2.BlobShape(dim=[2]))
    assert blob.SerializeToString() == bytes.fromhex("2a080000803f000000c0" + "3a030a0102")
    layer = caffe_pb2.V1LayerParameter(type=caffe_pb2.V1LayerParameter.BN, name="bn1_1")
    assert layer.SerializeToString() == b"\x22\x05bn1_1\x28\x2b"
