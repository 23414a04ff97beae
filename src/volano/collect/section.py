"""What to collect: this Python installation, or files of one's own."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from volano.core.recipe import Count, Runtime, Section

Format = Literal["auto", "wikipedia", "stackexchange", "reddit", "gutenberg"]
Kind = Literal["function", "module", "topic", "code", "readme", "licence"]


class CollectSection(Section):
    """Where documents come from, and which of them are kept for testing."""

    source: Literal["python_installation", "files"] = Field(
        default="python_installation",
        description="python_installation reads the standard library and `packages`; files reads "
        "`paths`.",
    )
    packages: Literal["own", "standard_library"] | list[str] = Field(
        default="own",
        description="Packages beside the standard library: own (a fixed list of those that Volano "
        "installs, so that figures do not depend on what else is there), standard_library (none), "
        "or a list of names as pip knows them.",
    )
    kinds: list[Kind] = Field(
        default=["function", "module", "topic", "code", "readme", "licence"],
        description="Kinds of document that are kept, of a Python installation: function (one "
        "docstring of a function, method, class or property), module (a module's docstring), topic "
        "(a page of the language reference), code (a module without docstrings), readme, licence.",
    )
    code_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Fraction of the modules whose code is kept, chosen by hash of the path. All "
        "code is five times as much text as the documentation, on which small models do better.",
    )
    held_out_functions: Count = Field(
        default=1500,
        ge=0,
        description="Documented functions kept for evaluation (split test). 1500 leaves some 600 "
        "items whose distractors share as many words with the question as the answer does.",
    )
    pool_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Fraction of the other documented functions kept for later turns of the wheel "
        "(split pool); no first version trains on them.",
    )
    paths: Annotated[list[str], Runtime] = Field(
        default=[],
        description="What to read: files, folders and globs, plain or as .gz, .bz2, .xz or .zst; "
        "git repositories; addresses such as s3://…; cc:SNAPSHOT; hf:OWNER/NAME. docs/sources.md "
        "has the kinds. What they hold bears identity, not where they lie.",
    )
    format: Format = Field(
        default="auto",
        description="What the files are: auto goes by their suffix, and by how an .xml begins; "
        "wikipedia (a dump of any MediaWiki), stackexchange (Posts.xml of a dump), reddit "
        "(submissions and comments as JSON Lines, read together into threads), gutenberg (texts "
        "of Project Gutenberg, whose header and footer are cut off).",
    )
    licence: str | None = Field(
        default=None,
        description="Licence of the documents that state none themselves. Without it, Wikipedia "
        "counts as CC-BY-SA-4.0, and a post of StackExchange by its date.",
    )
    min_score: int = Field(
        default=0,
        description="Score below which posts of StackExchange and Reddit are passed over.",
    )
    text_field: str = Field(
        default="text", description="The field or column that holds the text of a document."
    )
    text_format: Literal["plain", "html"] = Field(
        default="plain",
        description="What that field holds: plain text as it is, or a page of HTML, of which the "
        "main text is taken. Files of .html and .warc are pages in any case.",
    )
    id_field: str = Field(
        default="id",
        description="The field or column that holds its id; without one, a document is called by "
        "its file and line.",
    )
    held_out_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Fraction of the documents kept for testing (split test), chosen by hash of "
        "the text, so that equal texts share a split; of a Python installation, of all but its "
        "functions. A record's own split wins.",
    )

    dataset_config: str | None = Field(
        default=None, description="Configuration of an hf:OWNER/NAME that has several."
    )
    dataset_split: str = Field(
        default="train", description="Split that is read of an hf:OWNER/NAME, whole."
    )
    crawl_files: Count | None = Field(
        default=None,
        ge=1,
        description="Files that are read of a listing (cc:SNAPSHOT, or an address that ends in "
        ".paths or .paths.gz), chosen by hash of their paths: a larger number only adds files.",
    )
    site: str | None = Field(
        default=None,
        description="Site of a dump of StackExchange, such as askubuntu.com, for the addresses of "
        "its questions. Without it, the name of the folder counts where it is part of the key.",
    )

    @model_validator(mode="after")
    def _source_has_what_it_reads(self) -> Self:
        if self.source == "files" and not self.paths:
            raise ValueError("source is files, but paths names none")
        if self.source != "files" and self.paths:
            raise ValueError("paths is set, but source is not files")
        return self


class SafetySection(Section):
    """The safety conversations that come with Volano: nothing of them can be set."""
