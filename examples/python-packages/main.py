import markdown


def handler(event, context):
    """Turns Markdown into HTML: the event is a string, because the payload is text."""
    context.log("info", "converting", {"characters": len(event)})
    return markdown.markdown(event, extensions=["tables"])
