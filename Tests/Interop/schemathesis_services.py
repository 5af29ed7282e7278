"""Lets schemathesis invent requests from each service's /openapi.json, and judge the answers by it.

No answer may be a 5xx of ours, and each must be one that the document promises. Ids of real resources
are given to it, so that it gets past 404.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "Integration"))
sys.dont_write_bytecode = True

import routes  # noqa: E402

SECONDS = "150" if os.environ.get("SWITCHBOARD_LONG") else "30"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]


def parameters(service, ids):
    """The ids that each path gets, as schemathesis reads them from its configuration."""
    paths = routes.call(service, "GET", "/openapi.json", routes.ADMIN).document["paths"]
    lines = []
    for template in paths:
        names = re.findall(r"{(\w+)}", template)
        if not names:
            continue
        given = ", ".join(
            f"{json.dumps('path.' + name)} = {json.dumps(routes.known_id(ids, template, name))}"
            for name in names
        )
        lines += ["[[operations]]", f"include-path = {json.dumps(template)}"]
        lines += [f"parameters = {{ {given} }}", ""]
    # A text may be too long for its field by being too long for any body.
    lines += ["[checks.negative_data_rejection]"]
    lines += ["expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, '5xx']"]
    return "\n".join(lines)


def examine(folder, service, ids):
    """Runs schemathesis on one service; its report when something did not hold."""
    configuration = folder / f"{service}.toml"
    configuration.write_text(parameters(service, ids))
    base = routes.BASES[service].geturl()
    outcome = subprocess.run(
        ["schemathesis", "--config-file", configuration, "run", f"{base}/openapi.json"]
        + ["-H", f"Authorization: Bearer {routes.ADMIN}", "--checks", ",".join(CHECKS)]
        + ["--phases", "examples,coverage,fuzzing", "--max-time", SECONDS, "--max-examples", "50"]
        + ["--request-timeout", "20", "--seed", "1", "--generation-database", "none"]
        + ["--exclude-path-regex", "^/v1/internal/", "--warnings", "off", "--no-color"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=int(SECONDS) * 4,
    )
    tests = re.findall(r"\d+ generated.*", outcome.stdout)
    print(f"{service}: {tests[0] if tests else 'no tests'}")
    return "" if outcome.returncode == 0 and tests else outcome.stdout + outcome.stderr


def main():
    ids = routes.resources("schemathesis")
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor() as pool:
        folder = pathlib.Path(name)
        reports = list(pool.map(lambda service: examine(folder, service, ids), routes.BASES))
    print("\n".join(reports))
    return 1 if any(reports) else 0


if __name__ == "__main__":
    sys.exit(main())
