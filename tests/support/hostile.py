"""Pieces of text that hostile Markdown and HTML are made of."""

# fmt: off
HOSTILE_PARTS = [
    "`", "``", "```", "~~~", "\n", "\n", "\n\n", " ", "    ", "\t", "\r", "\x0b", "\x85", "<b>", "</b>",
    "<!--", "-->", "<?", "<![CDATA[", "<script>", "<div>", "![", "!", "[", "]", "(", ")", "](", "]:",
    "[a]: x", "javascript:x", "https://x", "data:,", "<http://e>", "<a@b.c>", "\\", "|", "|-|", "# ", "---",
    "===", "- ", "1. ", "> ", ">", "a", "&lt;", "*", "_", "x\n```\n",
]
# fmt: on
