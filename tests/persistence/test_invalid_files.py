r"""Files that save did not write, or that were changed, are refused."""

import io
import json
import os
import pickle
import random
import struct

import joblib
import pytest
import safetensors.torch
import skops.io
import torch

from sksoftmax._utils import files
from sksoftmax.persistence import InvalidFileError, load, save

from .classifiers import (
    mlp,
    same,
    table,
)


class Malicious:
    r"""A pickle of this makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def sizes(width):
    # The form of a tuple in a file.
    return {"tuple": [width]}


@pytest.fixture
def contents(path):
    save(mlp().fit(*table()), path)
    return path.read_bytes()


def refuse(path, contents, match):
    path.write_bytes(contents)
    with pytest.raises(InvalidFileError, match=match) as info:
        load(path)
    assert "Got " in str(info.value)
    assert "expected" in str(info.value)


def test_pickles_are_not_executed(path, contents):
    victim = path.parent / "victim"
    stored = pickle.dumps(Malicious(victim))
    buffer = io.BytesIO()
    joblib.dump(Malicious(victim), buffer, compress=3)
    archive = io.BytesIO()
    torch.save(Malicious(victim), archive)
    for crafted in (
        stored,
        buffer.getvalue(),
        archive.getvalue(),
        # A pickle instead of the tensors, and instead of the header.
        contents[: -len(stored)] + stored,
        struct.pack("<Q", len(stored)) + stored + contents,
    ):
        refuse(path, crafted, "load reads neither pickles|checksum")
        assert not victim.exists()
    # The pickle itself works.
    pickle.loads(stored)
    assert victim.exists()


def test_truncated_files_are_refused(path, contents):
    for length in (0, 7, 8, 100, len(contents) // 2, len(contents) - 1):
        refuse(path, contents[:length], "not all of it")
    refuse(path, contents + b"\0", "not all of it")


def test_every_flipped_bit_is_noticed(path, contents):
    rng = random.Random(0)
    for _ in range(200):
        flipped = bytearray(contents)
        flipped[rng.randrange(len(contents))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            loaded = load(path)
        except InvalidFileError:
            continue
        # Only changes without an effect may pass, in the padding of the header.
        path.write_bytes(contents)
        assert same(
            loaded.predict_proba(table()[0]), load(path).predict_proba(table()[0])
        )


def test_files_of_other_formats_are_refused(path, contents):
    tensors = {"weight": torch.ones(2, 2)}
    refuse(path, safetensors.torch.save(tensors), "no file that save wrote")
    refuse(path, b"PK\3\4" + bytes(100), "no file that save wrote")
    refuse(path, b'{"class": "SoftmaxMLPClassifier"}', "no file that save")
    refuse(path, skops.io.dumps(mlp()), "no file that save wrote")


def test_a_missing_file_is_an_error(path):
    with pytest.raises(FileNotFoundError):
        load(path)


def craft(tensors, text, version="1"):
    r"""Return a file with a text as its document, and a correct checksum."""
    metadata = {
        "format": "sksoftmax",
        "format_version": version,
        "document": text,
        "sha256": files._digest(text, tensors),
    }
    return safetensors.torch.save(tensors, metadata)


def test_a_newer_format_is_refused(path, contents):
    document, tensors = files.read_document(path)
    crafted = craft(tensors, json.dumps(document), version="2")
    refuse(path, crafted, r"version '2', .*Install a newer")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.update({"class": "LogisticRegression"}), "expected one of"),
        (lambda d: d.update({"class": "os.system"}), "expected one of"),
        (
            lambda d: d.update({"class": ["SoftmaxMLPClassifier"]}),
            "expected one of",
        ),
        (lambda d: d.pop("class"), "expected one of"),
        (lambda d: d.pop("parameters"), "do not fit together"),
        (lambda d: d.pop("attributes"), "do not fit together"),
        (lambda d: d["parameters"].update(unheard_of=1), "unheard_of"),
        (lambda d: d["parameters"].update(dropout="much"), "dropout"),
        (
            lambda d: d["attributes"].update(hidden_layer_sizes_=sizes(16)),
            "of shape",
        ),
        (
            lambda d: d["attributes"].update(hidden_layer_sizes_=sizes(2**40)),
            "together",
        ),
        (lambda d: d["parameters"].update(dropout={"eval": "1"}), "eval"),
        (lambda d: d["parameters"].update(dropout={}), "do not fit together"),
        (lambda d: d["attributes"].update(predict=1), "predict is a int"),
        (lambda d: d["attributes"].update(__class__="A"), "__class__ is a str"),
        (lambda d: d["attributes"].update(net_=1), "net_ is a int"),
        (lambda d: d["attributes"].update(classes_="abc"), "classes_ is a str"),
        (lambda d: d["attributes"].pop("classes_"), "classes_"),
        (lambda d: d["attributes"].pop("_has_missing"), "_has_missing"),
        (lambda d: d["attributes"].update(n_features_in_=3), "do not fit together"),
        (lambda d: d["attributes"].update(n_iter_={"array": "no"}), "'no'"),
    ],
)
def test_crafted_documents_with_a_checksum_are_refused(path, contents, change, match):
    document, tensors = files.read_document(path)
    change(document)
    files.write_document(path, document, tensors)
    refuse(path, path.read_bytes(), match)


def test_tensors_of_another_shape_are_refused(path, contents):
    document, tensors = files.read_document(path)
    for name in ("module.output.bias", "module.input_scaling.slot_code"):
        for crafted in (
            {**tensors, name: tensors[name].double()},
            {**tensors, name: tensors[name][..., :1].clone()},
            {key: value for key, value in tensors.items() if key != name},
            {**tensors, "module.more": torch.ones(1)},
        ):
            files.write_document(path, document, crafted)
            refuse(path, path.read_bytes(), "parameters do not describe")


def test_deeply_nested_documents_are_refused(path, contents):
    _, tensors = files.read_document(path)
    for text in ("[" * 100_000 + "]" * 100_000, "[]", "{", "7"):
        refuse(path, craft(tensors, text), "document cannot be used")
