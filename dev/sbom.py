"""``make build``: what the wheel ships and needs, as a software bill of materials in CycloneDX's format."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement


def sbom_of(wheel: Path) -> dict[str, Any]:
    """Return the bill of materials of a wheel. It has no date and no random number, so it is the same each time."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in sorted(archive.namelist())}
    (metadata_name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(files[metadata_name].decode())
    name, version = metadata["Name"], metadata["Version"]
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": "wheel",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{version}",
                "licenses": [{"license": {"id": metadata["License-Expression"]}}],
                "hashes": [_sha256(wheel.read_bytes())],
            }
        },
        "components": [
            *({"type": "file", "name": path, "hashes": [_sha256(content)]} for path, content in files.items()),
            *(
                {
                    "type": "library",
                    "bom-ref": str(each),
                    "name": each.name,
                    "purl": f"pkg:pypi/{each.name.lower()}",
                    "scope": "optional" if each.marker else "required",
                    "properties": [{"name": "requirement", "value": str(each)}],
                }
                for each in needed
            ),
        ],
        "dependencies": [{"ref": "wheel", "dependsOn": [str(each) for each in needed]}],
    }


def _sha256(content: bytes) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}


def main(folder: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    path = folder / f"{wheel.stem}.cdx.json"
    path.write_text(json.dumps(sbom_of(wheel), indent=2) + "\n")
    lines = [f"{_sha256(each.read_bytes())['content']}  {each.name}\n" for each in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
