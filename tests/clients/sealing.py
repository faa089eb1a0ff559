"""k8s/secrets/seal: what it seals opens in its scope and nowhere else, and its check finds what is damaged.

    .forebay/venv/bin/python tests/clients/sealing.py
"""

import contextlib
import copy
import datetime
import importlib.machinery
import io
import pathlib
import sys
import tempfile
import types

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

sys.dont_write_bytecode = True  # beside the script
SEAL = pathlib.Path(__file__).resolve().parents[2] / "k8s/secrets/seal"
SCOPES = ("strict", "namespace-wide", "cluster-wide")


SCRIPT = types.ModuleType("seal")
importlib.machinery.SourceFileLoader("seal", str(SEAL)).exec_module(SCRIPT)


def seal(*arguments):
    """Its exit status and what it prints."""
    sys.argv, printed = ["seal", *map(str, arguments)], io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = SCRIPT.main()
    return code, printed.getvalue()


def controller(folder):
    """A key and its certificate, as the controller makes them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sealed-secret")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    (folder / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        controller(folder)
        key, cert, file = folder / "key.pem", folder / "cert.pem", folder / "sealed.yaml"
        (folder / "secret").write_text("of a test alone")

        def checked(document, *more):
            file.write_text(yaml.safe_dump(document))
            return seal("--check", file, *more)

        place = ("--namespace", "forebay", "--name", "forebay-pool", f"pool-secret={folder / 'secret'}")
        for scope in SCOPES:
            code, text = seal("--cert", cert, "--scope", scope, *place)
            assert code == 0 and "of a test" not in text, text
            sealed = yaml.safe_load(text)
            for more in ((), ("--cert", cert), ("--key", key)):
                assert checked(sealed, *more)[0] == 0, (scope, more, checked(sealed, *more))
            for field, scopes in (("name", ("strict",)), ("namespace", ("strict", "namespace-wide"))):
                moved = copy.deepcopy(sealed)
                moved["metadata"][field] = moved["spec"]["template"]["metadata"][field] = "another"
                code, said = checked(moved, "--key", key)
                assert (code != 0) == (scope in scopes), (scope, field, said)
            widened = copy.deepcopy(sealed)
            other = SCOPES[(SCOPES.index(scope) + 1) % 3]
            for metadata in (widened["metadata"], widened["spec"]["template"]["metadata"]):
                metadata["annotations"] = {} if other == "strict" else {f"sealedsecrets.bitnami.com/{other}": "true"}
            code, said = checked(widened, "--key", key)
            assert code != 0 and "sealed for another" in said, said

        sealed = yaml.safe_load(seal("--cert", cert, *place)[1])
        text = sealed["spec"]["encryptedData"]["pool-secret"]
        for damaged, why in ((text[:400], "cut"), ("?" + text[1:], "no base64"), ("AAAA" + text[4:], "length of its RSA part")):
            wrong = copy.deepcopy(sealed)
            wrong["spec"]["encryptedData"]["pool-secret"] = damaged
            code, said = checked(wrong)
            assert code != 0 and why in said, said
        for change, why in (
            (lambda d: d["spec"].update(data={"a": "b"}), "plain text"),
            (lambda d: d["metadata"].pop("namespace"), "binds values to a namespace"),
            (lambda d: d["metadata"].update(annotations={"sealedsecrets.bitnami.com/cluster-wide": "true"}), "metadata.annotations"),
            (lambda d: d["spec"].update(encryptedData={}), "is empty"),
        ):
            wrong = copy.deepcopy(sealed)
            change(wrong)
            code, said = checked(wrong)
            assert code != 0 and why in said, said
    print("sealed and opened in three scopes, and what is damaged is refused")


if __name__ == "__main__":
    main()
