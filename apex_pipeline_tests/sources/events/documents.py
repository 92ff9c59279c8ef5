"""Hypothesis strategies for well-formed elements, written in every way XML allows.

Elements come as text and as the tree behind them, so that a test knows what must come out.
"""

from hypothesis import strategies as st

NAMES = st.sampled_from(["A", "B", "c", "NAME", "x-1", "y.z", "_u", "EVENTS", "\u00e9t\u00e9"])
_PLAIN = st.text(
    st.characters(codec="utf-8", exclude_characters="<&>\r\"'", exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=8
)
_SPACE = st.sampled_from(["", "", " ", "\n  ", "\t", "\r\n"])
_REFERENCES = st.sampled_from(["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#10;", "&#x1F600;", "&#13;", "&#xe9;"])
_CDATA = st.sampled_from(["<![CDATA[]]>", "<![CDATA[<EVENT>&x;]]>", "<![CDATA[]] >]]>"])
_COMMENTS = st.sampled_from(["<!---->", "<!-- </EVENT> -->", "<!--<EVENT>-->"])
_INSTRUCTIONS = st.sampled_from(["<?p?>", "<?p a='>'?>", "<?q </EVENT>?>"])
_TEXT = st.one_of(_PLAIN, _SPACE, _REFERENCES)


@st.composite
def _attributes(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(["id", "b", "xml:lang", "p:c", "q:d", "k-1"]), unique=True, max_size=3))
    pieces: list[str] = []
    for name in names:
        quote = draw(st.sampled_from("\"'"))
        value = draw(st.lists(st.one_of(_PLAIN, _REFERENCES, st.sampled_from([">", "\n", "\t"])), max_size=2))
        pieces.append(f"{draw(st.sampled_from([' ', '  ', chr(10)]))}{name}={quote}{''.join(value)}{quote}")
    return "".join(pieces)


@st.composite
def _children(draw: st.DrawFn, depth: int) -> str:
    kinds = [_TEXT, _SPACE, _CDATA, _COMMENTS, _INSTRUCTIONS]
    if depth:
        kinds += [elements(depth=depth - 1)] * 4
    return "".join(draw(st.lists(st.one_of(kinds), max_size=4)))


@st.composite
def elements(draw: st.DrawFn, name: str | None = None, depth: int = 2, declarations: str = "") -> str:
    """Draw a well-formed element, whose prefixes ``p`` and ``q`` its surroundings, or ``declarations``, declare."""
    prefix = draw(st.sampled_from(["", "", "p:", "q:"]))
    tag = name or prefix + draw(NAMES)
    attributes = draw(_attributes()) + declarations
    inside = draw(_children(depth))
    if not inside and draw(st.booleans()):
        return f"<{tag}{attributes}{draw(_SPACE)}/>"
    return f"<{tag}{attributes}>{inside}</{tag}{draw(_SPACE)}>"


NAMESPACES = ' xmlns:p="urn:p" xmlns:q="urn:q&amp;1"'


def events() -> st.SearchStrategy[str]:
    """Draw an event with all namespaces it needs."""
    return elements(name="EVENT", declarations=NAMESPACES)


def plain_elements() -> st.SearchStrategy[str]:
    """Draw elements of which many are plain."""
    value = st.text(st.sampled_from("ab <>&\"'\n\t\r\x01/=]\u00e9\ufffe"), max_size=4)
    field = st.builds(lambda tag, text: f"<{tag}>{text}</{tag}>", st.sampled_from(["A", "B", "C"]), value)
    attribute = st.builds(lambda name, text: f' {name}="{text}"', st.sampled_from(["a", "b"]), value)
    inner = st.builds(lambda parts: f"<D>{''.join(parts)}</D>", st.lists(field, max_size=2))
    body = st.lists(st.one_of(field, field, inner, value, st.just("<E/>"), st.just("\n ")), max_size=5)
    return st.builds(
        lambda given, parts: f"<EVENT{''.join(given)}>{''.join(parts)}</EVENT>", st.lists(attribute, max_size=2), body
    )
