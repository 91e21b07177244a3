"""Asks OpenStack's image inspector about many images in one process.

Reads a JSON object a line: "base", the path of a file; "edits", a list of [offset, bytes in hexadecimal] made to it in
memory; "length", what it is cut or extended to, or null. Prints a JSON object for each: "formats" as detected, and
"failures", the names of what makes it unsafe. Of an ISO that is a disk as well only the ISO counts, as in Nova.
"""

import io
import json
import logging
import sys

from oslo_utils.imageutils import format_inspector as inspector

CHUNK = 4096
logging.disable(logging.CRITICAL)
bases = {}


def image(case):
    base = case["base"]
    if base not in bases:
        with open(base, "rb") as file:
            bases.clear()
            bases[base] = file.read()
    data = bytearray(bases[base])
    for offset, text in case["edits"]:
        edit = bytes.fromhex(text)
        data[offset : offset + len(edit)] = edit
    length = case["length"]
    if length is not None:
        del data[length:]
        data.extend(bytes(length - len(data)))
    return bytes(data)


def verdict(data):
    wrapper = inspector.InspectWrapper(io.BytesIO(data))
    found = None
    try:
        while found is None and wrapper.read(CHUNK):
            found = wrapper.formats
        if found is None:
            wrapper.close()
            found = wrapper.formats
    except Exception as error:
        return {"formats": [], "failures": ["exception " + type(error).__name__]}
    names = sorted(str(one) for one in found)
    if names == ["gpt", "iso"]:
        found = [one for one in found if str(one) == "iso"]
        names = ["iso"]
    if len(found) > 1:
        return {"formats": names, "failures": ["several formats"]}
    # An inspector that waits for the end of the file is told of it when the file is closed.
    wrapper.close()
    try:
        found[0].safety_check()
    except inspector.SafetyCheckFailed as error:
        return {"formats": names, "failures": sorted(error.failures)}
    except Exception as error:
        return {"formats": names, "failures": ["exception " + type(error).__name__]}
    return {"formats": names, "failures": []}


for line in sys.stdin:
    print(json.dumps(verdict(image(json.loads(line)))))
