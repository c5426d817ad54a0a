"""The live page: a team at work in a browser, reviewed, stopped and resumed there."""
