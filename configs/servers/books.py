"""A small MCP server over stdio: a catalogue of books, built with the `mcp` package."""

from mcp.server.fastmcp import FastMCP

server = FastMCP("books", log_level="WARNING")

BOOKS = [
    {"title": "The Dispossessed", "author": "Ursula K. Le Guin", "year": 1974, "copies": 2},
    {"title": "Kindred", "author": "Octavia E. Butler", "year": 1979, "copies": 0},
    {"title": "Solaris", "author": "Stanislaw Lem", "year": 1961, "copies": 1},
]


@server.tool()
def search(words: str) -> list[dict[str, str | int]]:
    """Finds books whose title or author contains the words."""
    return [book for book in BOOKS if words.lower() in f"{book['title']} {book['author']}".lower()]


@server.tool()
def available(before: int) -> list[str]:
    """Lists the titles from before a year of which a copy is there."""
    return [str(book["title"]) for book in BOOKS if int(book["year"]) < before and int(book["copies"])]


if __name__ == "__main__":
    server.run()
