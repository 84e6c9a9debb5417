from countries import NAMES


def handler(event, context):
    return sorted(name for name in NAMES.values() if name.startswith(event["prefix"]))
