"""Fragments of XML and values of JSON, valid and not, after the productions of the two specifications.

None says what should come of it: the tests ask parsers other than ours.
"""

# Content of an element, by the part of XML 1.0 (or of Namespaces in XML) that it is about.
XML_FRAGMENTS: dict[str, tuple[str, ...]] = {
    "names": (
        *("<\u00e9/>", "<_/>", "<:a/>", "<a:/>", "<a\u00b7b/>", "<\u00b7a/>", "<-a/>", "<.a/>", "<1/>", "<a\u0300/>"),
        *("<\u0300/>", "<\u3007/>", "<a\u2014/>", "<\u0e33/>", "<xml/>", "<XMLa/>", "<a:b:c xmlns:a='urn:u'/>"),
        *("<EVENTx/>", "<EVENT/>", "<e:EVENT xmlns:e='urn:u'/>", "<event>x</event>", "<a_EVENT/>"),
    ),
    "namespaces": (
        *("<x:y xmlns:x='urn:u'/>", "<xmlns/>", "<xmlns:a/>", "<xml:a/>", "<a xmlns=''/>", "<a xmlns:p=''/>"),
        *("<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns:xml='urn:u'/>", "<p:a/>", "<a p:b=''/>"),
        *("<a xmlns:xmlns='urn:u'/>", "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", "<a xml:lang='en'/>"),
        "<a xmlns:p='urn:u' xmlns:q='urn:u' p:b='' q:b=''/>",
        *("<a xmlns:p='urn:u' p:b='' b=''/>", "<p:a xmlns:p='urn:u'><b xmlns:p='urn:v'><p:c/></b></p:a>"),
        *("<a xmlns='urn:u'><b xmlns=''><c/></b></a>", "<a xmlns:p='urn:a&amp;b'/>", "<a xml:space='preserve'> </a>"),
    ),
    "references": (
        *("&#9;", "&#10;", "&#13;", "&#xD;&#xA;", "&#0;", "&#x1;", "&#x1F;", "&#x20;", "&#x7F;", "&#x80;", "&#xD7FF;"),
        *("&#xD800;", "&#xDFFF;", "&#xE000;", "&#xFFFD;", "&#xFFFE;", "&#xFFFF;", "&#x10000;", "&#x10FFFF;"),
        *("&#x110000;", "&#xFFFFFFFFFF;", "&#x000000000041;", "&#65", "&#;", "&#x;", "&#X41;", "&#-1;", "&# 65;"),
        *("&#1a;", "&;", "& amp;", "&amp", "&AMP;", "&lt;", "&#60;", "&#38;lt;", "&#38;#60;", "&nbsp;", "&a.b;"),
        *("&1;", "%x;", "&lt;EVENT&gt;", "&lt;&gt;&amp;&apos;&quot;", "<a b='&#60;&lt;'/>", "<a b='&#10;&#9;&#13;'/>"),
        *("<a b='&x;'/>", "<a b='&'/>", "<a b='&#38;'/>"),
    ),
    "CDATA": (
        *("<![CDATA[]]>", "<![CDATA[]]]>", "<![CDATA[]]]]>", "<![CDATA[ ]] > ]]>", "<![CDATA[<![CDATA[]]>"),
        *("<![CDATA[<![CDATA[]]>]]>", "<![cdata[]]>", "<![CDATA []]>", "<! [CDATA[]]>", "<![CDATA[&amp;]]>"),
        *("<![CDATA[</EVENT>]]>", "<![CDATA[<EVENT>]]>", "<![CDATA[<EVENT></EVENT>]]>", "<![CDATA[\r\n]]>"),
        *("a<![CDATA[b]]>c", "<![CDATA[a]]><![CDATA[b]]>", "<![CDATA[]]]]><![CDATA[>]]>", "]]>", "]]&gt;", "]] >"),
        *("]]", "<a b=']]>'/>", "<![CDATA[\x01]]>", "<![CDATA[\ufffe]]>", "<![IGNORE[x]]>", "<![CDATA[-->]]>"),
    ),
    "comments": (
        *("<!---->", "<!-- -->", "<!--->", "<!-->", "<!--a--b-->", "<!--a--->", "<!--a- -->", "<!-- - - -->"),
        *("<!--&x;-->", "<!--<a>-->", "<!--]]>-->", "<!--?>-->", "<!--</EVENT>-->", "<!-- <EVENT> -->", "<!--\r\n-->"),
        *("<!--\x02-->", "<! -- a -->", "<!- a ->", "<!--a", "<!--a-- >", "<!--\u00e9-->", "a<!--b-->c"),
        *("<a><!--b--></a>", "<a b='<!--'/>", "<a b='-->'/>", "<!--<![CDATA[-->]]>", "<!--<![CDATA[-->"),
    ),
    "instructions": (
        *("<?p?>", "<?p ?>", "<?p  d ?>", "<?p d??>", "<?p ?d?>", "<?p<a>?>", "<?p <a>?>", "<??>", "<? p?>"),
        *("<?xml?>", "<?xml version='1.0'?>", "<?XML?>", "<?xMl a?>", "<?xmlx?>", "<?xml-stylesheet href='a'?>"),
        *("<?p d", "<?p d>", "<?p </EVENT>?>", "<?p <EVENT>?>", "<?p --?>", "<?p &x;?>", "<?p \x03?>", "<?1?>"),
        *("<?\u00e9?>", "<?p\n\td?>", "<?p d?e?>"),
    ),
    "tags": (
        *("<a/>", "<a />", "<a\n/>", "<a\t/>", "< a/>", "<a/ >", "<a / >", "</a >", "<a></a\n>", "<a></ a>"),
        *("<a></a b=''>", "<a></A>", "<a><b></a></b>", "<a>", "</a>", "<a", "<", ">", "<>", "</>", "<a//>"),
        *("<a<b/>", "<a><", "<!a>", "<!ELEMENT a ANY>", "<!DOCTYPE a>", "<!ENTITY a 'b'>", "a<b/>c<b/>d", "<a></a>"),
    ),
    "attributes": (
        *("<a b/>", "<a b=/>", "<a b=c/>", "<a b='c/>", '<a b="c/>', "<a b='1' b='2'/>", "<a b='1'c='2'/>"),
        *("<a b = '1'/>", "<a b\n=\n'1'/>", "<a 'b'='1'/>", "<a ='1'/>", "<a b='<'/>", "<a b='>'/>", '<a b="\'"/>'),
        *("<a b='\"'/>", "<a b='\n\t'/>", "<a b='\r\n'/>", "<a b=' x  y '/>", "<a b=''/>", "<a \u00e9='1'/>"),
        *("<a b='\x01'/>", "<a b='\ufffe'/>", "<a b='1' B='2'/>", "<a b='</EVENT>'/>", "<a b='<EVENT>'/>"),
    ),
    "characters": (
        *("\x00", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\ud7ff"),
        *("\ue000", "\ufdd0", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff", "\r", "\r\n"),
        *("\n\r", "a\rb", " \t ", "'", '"', "{}", "\u0301", "\u202e", "a\u200bb", "\u00a0", "\u20ac\U0001d11e"),
    ),
}

# What stands before and behind the root element of a document.
XML_PROLOGS = (
    *("", "<?xml version='1.0'?>", '<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>\n', "<!-- c -->\n"),
    *("<?xml version='1.0'?><!-- <EVENT> --><?p <EVENT>?>\n", "<?xml version='1.0'?>\n\n<?p?>\n"),
)
XML_EPILOGS = ("", "\n", "<!-- c -->", "<?p?>\n", "\n<!-- <EVENT> -->\n")
XML_DOCTYPES = (
    *("<!DOCTYPE EVENTS>", "<!DOCTYPE EVENTS SYSTEM 'x.dtd'>", "<!DOCTYPE EVENTS PUBLIC '-//X' 'x.dtd'>"),
    *("<!DOCTYPE EVENTS [<!ENTITY e 'x'>]>", "<!DOCTYPE EVENTS [<!ENTITY e '<EVENT/>'>]>", "<!DOCTYPE EVENTS [\n]>"),
    *("<!DOCTYPE EVENTS [<!ENTITY % p SYSTEM 'x'> %p;]>", "<!DOCTYPE EVENTS [<!-- ]> --><!ELEMENT EVENT ANY>]>"),
    *("<!DOCTYPE EVENTS [<!ATTLIST EVENT a CDATA ']>'>]>", "<!DOCTYPE EVENTS [<?p ]>?>]>"),
)

_STRINGS = (
    *('""', '"a"', '" "', '"\\u0000"', '"\\u0060\\u012a\\u12AB"', '"\\uD801\\udc37"', '"\\ud83d\\ude39\\ud83d\\udc8d"'),
    *('"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\\\u0000"', '"a/*b*/c//d"', '"\\uFFFF"', '"\\uFDD0"', '"\U0010ffff"'),
    *('"\uffff"', '"\u03c0"', '"\u2028\u2029"', '"\x7f"', '"\\u005C"', '"{["', '"}]"', '"<EVENT>"', '"NaN"'),
    *('"\\uD800\\"', '"\\uD800\\u1"', '"\\x00"', '"\\a"', '"\\uqqqq"', '"\\u00A"', '"\x00"', '"a\nb"', '"\t"'),
    *('"\\UA66D"', '"\\', '"', "'a'", '"\\ud800"', '"\\uDd1ea"', '"\\ud800abc"', '"\\uDFAA"', '"\\uD888\\u1234"'),
    *('"\\uD800\\uD800\\n"', '"\\uDd1e\\uD834"', '"x""', '""x'),
)
_NUMBERS = (
    *("0", "-0", "1", "-1", "42", "0e1", "0e+1", "20e1", "1E22", "1E-2", "1E+2", "123e45", "123.456e78", "0.5", "-0.0"),
    *("-0.1", "1.0", "123.456789", "9007199254740993", "18446744073709551615", "18446744073709551616"),
    *("-9223372036854775808", "-9223372036854775809", "100000000000000000000", "1e400", "-1e+9999", "1e-400"),
    *("123e-10000000", "0.1000000000000000055511151231257827", "00", "-01", "012", "+1", "++1", "1.", ".5", "-.5"),
    *("1e", "1e+", "1eE2", "1.e3", "0x1", "0b1", "1_000", "1 000", "- 1", "-", "NaN", "-NaN", "Infinity", "-Infinity"),
    *("Inf", "\uff11", "1a", "1.2.3", "0e+-1", "1e0x"),
)
_STRUCTURES = (
    *("[]", "{}", "[[]]", "[{}]", '{"":0}', '{"a":{"b":[1,{"c":null}]}}', '{"a":1,"a":2}', '{"a":1,"a":1}'),
    *('{"foo\\u0000bar":42}', "[1,null,true,false]", "[1,]", "[,1]", "[1,,2]", "[1 2]", '["a":1]', "[1", "[", "]"),
    *('{"a"}', '{"a":}', "{:1}", "{1:1}", "{a:1}", "{'a':1}", '{"a":1,}', '{"a":1,,"b":2}', '{"a":1 "b":2}', "{"),
    *('{"a" 1}', '{"a"::1}', "{null:null}", '{"a":1}}', "}", "[1}", '{"a":[1}', '{"a":{"b":1]}', "[1]]"),
)
_WORDS = (
    *("true", "false", "null", "True", "TRUE", "nul", "tru", "truth", "undefined", "None", "*", "", "\u00e5", "abc"),
    *("/**/1", "1/**/", "1//", "#1", "1#", "\x0b1", "\u00a01", "\u20601", "\ufeff1", "\\u00201", "1;", "=1", "@"),
)
# Values, valid and not, of a member of an object.
JSON_VALUES = (*_STRINGS, *_NUMBERS, *_STRUCTURES, *_WORDS)
