"""Presentation of results: text, Markdown, HTML, SVG and JUnit XML, apart from the facts they show."""
