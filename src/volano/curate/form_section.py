"""What a user may set of the further rules on form (text.kernels.forms, where each is defined)."""

from pydantic import Field

from volano.core.recipe import Count, Section

FORM_RULES = ("refinedweb", "sentences", "code", "spam", "gibberish")
REFINEDWEB = "Source: Penedo et al. 2023 (RefinedWeb), appendix G.2."
THE_STACK = "Source: Kocetkov et al. 2022 (The Stack), after Chen et al. 2021 (Codex)."
STARCODER = "Source: Li et al. 2023 (StarCoder), section 3.1."
MEASURED = "Default: measured on clean prose (docs/quality.md)."
EXEMPT_CODE = "Kinds of document that are measured and never dropped. Default: program code."


class RefinedWebSection(Section):
    """Lines without content go, and documents with many of them.

    It changes the text: lines in capitals, of numbers alone, counters ("3 likes") and of one word
    are gone, and what judges after it sees what is left.
    """

    max_line_uppercase_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Fraction of a line's letters; lines with more capitals go. “Mainly”, says "
        + REFINEDWEB.removeprefix("Source: "),
    )
    max_removed_word_fraction: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Fraction of the words in lines that went; documents above it are dropped, "
        "others go on without these lines. " + REFINEDWEB,
    )
    exempt_kinds: list[str] = Field(default=["code"], description=EXEMPT_CODE)


class SentencesSection(Section):
    """Bounds on how well formed the sentences of English prose are."""

    min_terminal_sentence_fraction: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Fraction of sentences with punctuation at their end; documents below it are "
        "dropped. " + MEASURED,
    )
    min_capital_sentence_fraction: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Fraction of sentences that begin with no small letter; documents below it "
        "are dropped. " + MEASURED,
    )
    min_stop_word_fraction: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Fraction of words that are one of sixty English function words; documents "
        "below it are dropped; 0 for other languages. " + MEASURED,
    )
    exempt_kinds: list[str] = Field(default=["code"], description=EXEMPT_CODE)


class CodeSection(Section):
    """Bounds on program code."""

    max_longest_line_characters: Count = Field(
        default=1000, ge=1, description="Characters of the longest line. " + THE_STACK
    )
    max_mean_line_characters: float = Field(
        default=100, ge=1, description="Characters per line. " + THE_STACK
    )
    min_alphanumeric_fraction: float = Field(
        default=0.25, ge=0, le=1, description="Fraction of letters and digits. " + THE_STACK
    )
    max_generated_marks: int = Field(
        default=0,
        ge=0,
        description="Phrases such as “automatically generated” in the first five lines. "
        + STARCODER,
    )
    only_kinds: list[str] = Field(
        default=["code"], description="Kinds of document that are judged; others are measured."
    )


class SpamSection(Section):
    """Bounds on what pages do to be found: one word over and over, and lists of links."""

    max_top_word_fraction: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Fraction of the content words that are the most frequent one; documents above "
        "it are dropped. " + MEASURED,
    )
    fewest_content_words: Count = Field(
        default=50,
        ge=1,
        description="Content words from which on that fraction is told: in a short text one word "
        "is soon a large part. Default: by judgement.",
    )
    max_link_line_fraction: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Fraction of the lines with a link; documents above it are dropped. "
        + MEASURED,
    )
    exempt_kinds: list[str] = Field(default=["code"], description=EXEMPT_CODE)


class GibberishSection(Section):
    """Bounds on how unlikely letters of Latin script are; other scripts are never dropped."""

    max_letter_bits: float = Field(
        default=6.0,
        ge=0,
        description="Mean bits of a letter behind the two before it; documents above it are "
        "dropped. Default: between languages that the table has not seen (5.3 at most) and random "
        "letters (7.9 at least), scripts/train_gibberish.py.",
    )
    fewest_letters: Count = Field(
        default=100, ge=1, description="Letters from which on a document is judged."
    )
    exempt_kinds: list[str] = Field(default=["code"], description=EXEMPT_CODE)
