"""What is wrong in a prototxt, and where: a second reading, made only when the first one failed or a line is asked for.

protobuf's own parser decides what is right; its messages name message types that no user ever wrote. This reading walks
the same text beside the schema and knows the fields that are open, so it can say "unknown field 'kernel_siz' in
convolution_param; did you mean 'kernel_size'?".
"""

import bisect
import difflib
import re

from google.protobuf.descriptor import FieldDescriptor as F

from .layer_types import V1_TYPES

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
      | (?P<unclosed>["'][^\n]*)
      | (?P<name>[A-Za-z_][0-9A-Za-z_+-]*)
      | (?P<number>(?:[0-9+-]|\.[0-9])[0-9A-Za-z_.+-]*)
      | (?P<mark>.)""",
    re.VERBOSE,
)
MISSPELT = 0.85  # of two names: a letter or two; layer types of other Caffes share whole words with those of this one
OF_ANOTHER_CAFFE = "if it is of another Caffe, its layer has to be written anew (docs/write_a_layer.md)"
_BOOLEANS = {"true", "false", "True", "False", "t", "f", "0", "1"}
_LAYERS = ("LayerParameter", "V1LayerParameter")
_V1_NAMES = {today: v1 for v1, today in V1_TYPES.items()}
_CLOSED_BY = {"{": "}", "<": ">"}
_RANGES = {
    F.CPPTYPE_INT32: ("a whole number", -(2**31), 2**31),
    F.CPPTYPE_INT64: ("a whole number", -(2**63), 2**63),
    F.CPPTYPE_UINT32: ("a whole number from 0 on", 0, 2**32),
    F.CPPTYPE_UINT64: ("a whole number from 0 on", 0, 2**64),
}
# Fields that one of the two layer syntaxes has and the other says differently.
_OTHER_SYNTAX = {
    ("LayerParameter", "blobs_lr"): "in layer { } it is param { lr_mult: ... }",
    ("LayerParameter", "weight_decay"): "in layer { } it is param { decay_mult: ... }",
    ("V1LayerParameter", "lr_mult"): "in layers { } it is blobs_lr",
    ("V1LayerParameter", "decay_mult"): "in layers { } it is weight_decay",
}


class _Problem(Exception):
    """The first thing wrong, raised inside the walk: line number (from 1) and what to say about it."""

    def __init__(self, line, message):
        super().__init__(message)
        self.line = line


class _Token:
    """A word, number, string or mark of the text; kind "end" stands behind the last one. start: where in the text it begins."""

    def __init__(self, kind, text, line, start=0):
        self.kind, self.text, self.line, self.start = kind, text, line, start


class _Open:
    """A message whose closing brace has not come yet."""

    def __init__(self, descriptor, name, path="", line=1, closer=None, list_of=None):
        self.descriptor, self.name = descriptor, name
        self.path, self.line = path, line
        self.closer = closer  # "}" or ">"; None for the file itself
        self.list_of = list_of  # the repeated field, inside a list [{...}, {...}] of messages
        self.first_line = {}  # field name -> line where it was first given
        self.count = {}  # repeated field name -> how many so far
        self.said = {}  # of a layer: its name and its type, where they have come


def nearest(name, candidates, cutoff=0.6):
    """The candidate that `name` was probably meant to be, or None. Case and underscores do not count.

    cutoff: how alike they must be, 1 for the same; MISSPELT where another name may well be meant as it stands.
    """
    plain = {}
    for candidate in candidates:
        plain.setdefault(candidate.lower().replace("_", ""), candidate)
    close = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1, cutoff=cutoff)
    return plain[close[0]] if close else None


def did_you_mean(name, candidates, cutoff=0.6):
    """The end of an error message: "; did you mean 'X'?", or nothing where no candidate is near (see `nearest`)."""
    near = nearest(name, candidates, cutoff)
    return f"; did you mean '{near}'?" if near else ""


def printable(text):
    """The text with control characters, line ends among them, and bytes that are no text written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown_field(name, place, descriptor):
    """What to say of a field that a message of type `descriptor`, called `place`, does not have."""
    problem = f"unknown field '{name}' in {place}"
    hint = other_syntax(name, descriptor)
    if hint:
        return f"{problem}; {hint}"
    if (
        descriptor.name == "NetParameter"
        and name in descriptor.file.message_types_by_name["SolverParameter"].fields_by_name
    ):
        return (
            f"{problem}; a solver has it: where a net is wanted, give the file that the solver's net or train_net names"
        )
    fields = [field.name for field in descriptor.fields]
    near = did_you_mean(name, fields)
    inside = messages_with(name, descriptor.fields)
    if inside and not near:
        return f"{problem}; it belongs in {' or '.join(inside[:3])}"
    if descriptor.name == "SolverParameter" and not nearest(name, fields, MISSPELT):
        near += f"{' If' if near else '; if'} it is of another Caffe, leave it out"
    return problem + near


def other_syntax(name, descriptor):
    """How this message says a field that only the other layer syntax has; None for all other fields."""
    return _OTHER_SYNTAX.get((descriptor.name, name))


def messages_with(name, fields):
    """The names of those of `fields` that are messages with a field `name`."""
    return [field.name for field in fields if field.message_type and name in field.message_type.fields_by_name]


def wrong_value(field, value):
    """What to say of a Python value that does not suit a scalar field; None if its text in a prototxt would."""
    if isinstance(value, str):
        is_word = field.cpp_type == F.CPPTYPE_ENUM
        return _wrong_value(field, _Token(*(("name", value) if is_word else ("string", f'"{value}"')), line=0))
    kind = "number" if isinstance(value, (int, float)) else "mark"
    return _wrong_value(field, _Token(kind, str(value), line=0))


def is_repeated(field):
    """Whether a field (FieldDescriptor) holds a list."""
    # protobuf 7 has no `label` any more, protobuf 4 no `is_repeated` yet
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == F.LABEL_REPEATED


def find_problem(text, descriptor):
    """(line, message) of the first problem in `text` as a message of type `descriptor`; None if this reading sees none."""
    try:
        _Walk(text, descriptor).run()
    except _Problem as problem:
        return problem.line, str(problem)
    return None


def without_foreign(text, descriptor):
    """The text of a net with blanks for the fields of layers that may be of another Caffe: (text, {path of a layer: (line, message)}).

    Such a field is one that is unknown and no misspelt one; of each layer the first is told.
    """
    walk, told, parts, at = _Walk(text, descriptor, passes_foreign=True), {}, [], 0
    try:
        walk.run()
    except _Problem:
        pass  # what is wrong otherwise is for who reads the text
    for layer, start, end, line, message in walk.passed:
        told.setdefault(layer, (line, message))
        parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*parts, text[at:]]), told


def field_lines(text, descriptor):
    """Line of every field up to the first problem, by path: {"layer[3]": 40, "layer[3].type": 42, ...}."""
    walk = _Walk(text, descriptor)
    try:
        walk.run()
    except _Problem:
        pass  # what stands before it is still worth having
    return walk.lines


class _Walk:
    """One pass over the tokens; `stack` holds the open messages, outermost first.

    passes_foreign: fields of layers that may be of another Caffe are stepped over and end up in `passed`
    """

    def __init__(self, text, descriptor, passes_foreign=False):
        self.passes_foreign, self.passed = passes_foreign, []
        self.tokens = list(_tokens(text))
        self.at = 0
        self.lines = {}
        self.single = None  # the field of one value that came last
        self.stack = [_Open(descriptor, descriptor.name.removesuffix("Parameter").lower())]

    @property
    def token(self):
        return self.tokens[self.at]

    def take(self, *texts):
        """The current token if it is one of `texts` (and step over it), else None."""
        token = self.token
        if token.kind == "mark" and token.text in texts:
            self.at += 1
            return token
        return None

    def run(self):
        while True:
            inner, token = self.stack[-1], self.token
            if token.kind == "end":
                if inner.closer:
                    raise _Problem(
                        inner.line, f"{inner.name} is opened here and never closed: a '{inner.closer}' is missing"
                    )
                return
            if inner.closer and self.take(inner.closer):
                self.close()
            elif token.text == "[" and token.kind == "mark":
                raise _Problem(token.line, "'[' where a field name is expected; extensions are not supported")
            elif token.kind != "name":
                self.not_a_name(token)
            else:
                self.field()

    def close(self):
        """Behind a message: back to the one around it, unless a list of messages goes on."""
        list_of = self.stack.pop().list_of
        if list_of and self.take(","):
            self.open_message(list_of, in_list=True)
            return
        if list_of:
            self.expect("]", "',' or ']' is expected")
        self.take(";", ",")

    def not_a_name(self, token):
        if token.kind == "mark" and token.text in "}>":
            if self.stack[-1].closer:
                raise _Problem(
                    token.line, f"'{token.text}' where '{self.stack[-1].closer}' closes {self.stack[-1].name}"
                )
            raise _Problem(token.line, f"'{token.text}' closes nothing: one too many, or its opening brace is missing")
        hint = ""
        if token.text == "/":
            hint = "; comments begin with #"
        elif self.at and self.tokens[self.at - 1].text == "," and self.single:
            hint = f"; '{self.single}' takes one value"
        raise _Problem(token.line, f"{_shown(token)} where a field name is expected{hint}")

    def field(self):
        inner, token = self.stack[-1], self.token
        field = inner.descriptor.fields_by_name.get(token.text)
        message, is_foreign = self.unknown_field(token.text) if field is None else self.unknown_type(field)
        if message:
            if not (is_foreign and self.passes_foreign and self.pass_foreign(message)):
                raise _Problem(token.line, message)
            return
        self.at += 1
        name, first = field.name, inner.first_line.get(field.name)
        if first and not is_repeated(field):
            raise _Problem(token.line, f"'{name}' is given twice in {inner.name}, first in line {first}")
        inner.first_line.setdefault(name, token.line)
        if field.cpp_type == F.CPPTYPE_MESSAGE:
            self.take(":")
            self.messages(field)
        else:
            self.lines.setdefault(inner.path + name, token.line)
            self.expect(":", f"':' is expected behind '{name}'")
            self.values(field)

    def expect(self, mark, what):
        token = self.token
        if not self.take(mark):
            raise _Problem(token.line, f"{_shown(token)} where {what}")

    def messages(self, field):
        """A message, or a list of them; the fields inside are left to run()."""
        in_list = bool(is_repeated(field) and self.take("["))
        if in_list and self.take("]"):
            self.take(";", ",")
        else:
            self.open_message(field, in_list)

    def open_message(self, field, in_list):
        inner, token = self.stack[-1], self.token
        opener = self.take("{", "<")
        if not opener:
            raise _Problem(token.line, f"{_shown(token)} where '{{' is expected behind '{field.name}'")
        path = inner.path + field.name
        if is_repeated(field):
            number = inner.count.get(field.name, 0)
            inner.count[field.name] = number + 1
            path += f"[{number}]"
        self.lines[path] = token.line
        closer, list_of = _CLOSED_BY[opener.text], field if in_list else None
        self.stack.append(_Open(field.message_type, field.name, path + ".", token.line, closer, list_of))

    def values(self, field):
        if is_repeated(field) and self.take("["):
            if not self.take("]"):
                self.value(field)
                while self.take(","):
                    self.value(field)
                self.expect("]", "',' or ']' is expected")
        else:
            self.value(field)
            self.single = None if is_repeated(field) else field.name
        self.take(";", ",")

    def value(self, field):
        token, before = self.token, self.tokens[self.at - 1]
        problem = _wrong_value(field, token)
        if problem:  # behind a colon that ends its line, it is there that the value is missing
            raise _Problem(before.line if before.text == ":" else token.line, problem)
        if field.name in ("name", "type"):
            self.stack[-1].said[field.name] = token.text.strip("\"'")
        self.at += 1
        while token.kind == "string" and self.token.kind == "string":
            self.at += 1  # adjacent strings are one string

    def pass_foreign(self, message):
        """Step over an unknown field inside a net's layer; False for another, one of the oldest syntax, and one without an end."""
        kinds, end, token = (
            [around.descriptor.name for around in self.stack],
            self.behind_value(self.at + 1),
            self.token,
        )
        if len(kinds) < 2 or kinds[1] not in _LAYERS or "V0LayerParameter" in kinds or end is None:
            return False
        layer, self.at = self.stack[1].path.rstrip("."), end
        self.passed.append((layer, token.start, self.tokens[end].start, token.line, message))
        self.take(";", ",")
        return True

    def behind_value(self, at):
        """The number of the token behind the value or message that begins at that one; None where it has no end."""
        if self.tokens[at].text == ":":
            at += 1
        depth = 0
        while (token := self.tokens[at]).kind != "end":
            if token.kind == "mark" and token.text in "{<[":
                depth += 1
            elif token.kind == "mark" and token.text in "}>]":
                depth -= 1
            at += 1
            in_string = token.kind == self.tokens[at].kind == "string"  # adjacent strings are one
            if depth < 0:
                return None
            if depth == 0 and not in_string:
                return at
        return None

    def unknown_field(self, name):
        """What to say of a field that the innermost open message does not have, and whether it may be one of another Caffe."""
        inner = self.stack[-1]
        hinted = (inner.descriptor.name, name) in _OTHER_SYNTAX
        if not hinted and any(name in outer.descriptor.fields_by_name for outer in self.stack[:-1]):
            problem = f"unknown field '{name}' in {inner.name}"
            return f"{problem}; is a '{inner.closer}' missing? {inner.name} of line {inner.line} is still open", False
        if inner.descriptor.name in _LAYERS and name.endswith("_param"):
            message = _unknown_parameters(name, inner)
            return message, message.endswith(OF_ANOTHER_CAFFE)
        fields = inner.descriptor.fields
        known = hinted or messages_with(name, fields) or nearest(name, [field.name for field in fields], MISSPELT)
        return unknown_field(name, inner.name, inner.descriptor), not known

    def unknown_type(self, field):
        """As `unknown_field`, of the type of a layer of V1; (None, False) where it is known, or for another field."""
        colon, token = (self.tokens[min(self.at + n, len(self.tokens) - 1)] for n in (1, 2))
        known = field.enum_type.values_by_name if field.enum_type and field.enum_type.name == "LayerType" else ()
        if not known or colon.text != ":" or token.kind != "name" or token.text in known:
            return None, False
        old_name = _V1_NAMES.get(token.text)
        hint = f"; did you mean '{old_name}'?" if old_name in known else did_you_mean(token.text, known, MISSPELT)
        layer = self.stack[-1].said.get("name")
        named = f" of layer '{printable(layer)}'" if layer else ""
        return f"unknown layer type {_shown(token)}{named}{hint or f'; {OF_ANOTHER_CAFFE}'}", not hint


def _unknown_parameters(name, layer):
    """What to say of a message of parameters that no layer has; other Caffes have layers and messages of their own."""
    known = {field.name.removesuffix("_param"): field.name for field in layer.descriptor.fields if field.message_type}
    known = {stem: field for stem, field in known.items() if field not in layer.first_line}
    kind = printable(layer.said.get("type", ""))
    stem = name.removesuffix("_param")
    own = bool(nearest(kind, [stem], 1))  # named as its layer's type is, which then is of another Caffe
    meant = nearest(kind, known, 1) or (None if own else nearest(stem, known, MISSPELT))
    called = " ".join(
        filter(None, [f"'{printable(layer.said['name'])}'" if "name" in layer.said else "", kind and f"({kind})"])
    )
    problem = f"unknown field '{name}' in {layer.name}{' ' if called else ''}{called}"
    if meant:
        return f"{problem}; did you mean '{known[meant]}'?"
    return f"{problem}: no layer type here has it; {OF_ANOTHER_CAFFE}"


def _tokens(text):
    starts = [0] + [m.end() for m in re.finditer("\n", text)]
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield _Token(match.lastgroup, match.group(), bisect.bisect_right(starts, match.start()), match.start())
    yield _Token("end", "", len(starts), len(text))


def _wrong_value(field, token):
    """What to say of a value that does not suit a scalar field; None if it suits."""
    name, text = field.name, _shown(token)
    if token.kind == "unclosed":
        return f"the text of '{name}' has no closing quote on its line"
    if field.cpp_type == F.CPPTYPE_ENUM:
        return _wrong_enum(field, token)
    if field.cpp_type == F.CPPTYPE_STRING:
        if token.kind == "string":
            return None
        meant = V1_TYPES.get(token.text, token.text) if name == "type" else token.text
        example = f': "{meant}"' if token.kind == "name" else ""
        return f"{text} where '{name}' needs a text in quotes{example}"
    if field.cpp_type == F.CPPTYPE_BOOL:
        return None if token.text in _BOOLEANS else f"{text} where '{name}' needs true or false"
    if field.cpp_type in (F.CPPTYPE_FLOAT, F.CPPTYPE_DOUBLE):
        return None if _is_float(token.text) else f"{text} where '{name}' needs a number"
    kind, low, high = _RANGES[field.cpp_type]
    value = _integer(token.text)
    if value is None:
        return f"{text} where '{name}' needs {kind}"
    return None if low <= value < high else f"{text} where '{name}' needs {kind}, below {high}"


def _wrong_enum(field, token):
    known, numbers = [v.name for v in field.enum_type.values], [v.number for v in field.enum_type.values]
    if token.kind in ("name", "number") and (token.text in known or _integer(token.text) in numbers):
        return None
    text = token.text.strip("\"'")
    old_name = _V1_NAMES.get(text, text)
    if token.kind == "string":
        if old_name in known:
            return f"{_shown(token)} where '{field.name}' needs a name without quotes: {old_name}"
    problem = f"unknown value {_shown(token)} of {field.name}"
    if not nearest(text, known) and len(known) <= 8:
        return f"{problem}; known are {', '.join(known)}"
    return problem + did_you_mean(text, known)


def _integer(text):
    """The value of a whole number as protobuf's text format writes it (decimal, 0x1f, 017), or None."""
    try:
        return int(text, 8) if re.fullmatch(r"-?0[0-9]+", text) else int(text, 0)
    except ValueError:
        return None


def _is_float(text):
    if re.fullmatch(r"-?inf(inity)?f?|nanf?", text, re.IGNORECASE):
        return True
    try:
        float(text.rstrip("fF"))
    except ValueError:
        return False
    return not re.match(r"-?0[0-9]", text)


def _shown(token):
    if token.kind == "end":
        return "the end of the file"
    text = token.text if len(token.text) <= 40 else token.text[:37] + "..."
    text = printable(text)
    return text if token.kind in ("string", "unclosed") else f"'{text}'"
