"""Hashed n-grams and a linear classifier in plain Python, sharing no code with the kernels."""

import re
import unicodedata
from math import exp, log, sqrt

LEET = dict(zip("0123456789", "oizeasgtbg", strict=True))
APART = [(0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323FF)]
READ_OVER = "'’\u00ad\u200b\u200c\u200d\u2060\ufeff"


def folded(character):
    """None ends a word, "" is read over."""
    accent = 0x300 <= ord(character) < 0x370 and unicodedata.category(character)[0] == "M"
    if accent or character in READ_OVER:
        return ""
    if ord(character) >= 0x32400:
        return None
    if unicodedata.category(character)[0] == "M":
        return character
    if not character.isalnum():
        return None
    base = unicodedata.normalize("NFKD", character.casefold())[0]
    return base if base.isalnum() else character


def is_apart(character):
    return any(first <= ord(character) <= last for first, last in APART)


def in_word(text, place):
    return place < len(text) and folded(text[place]) not in (None, "")


def words_of(text):
    words, word, run, place = [], "", "", 0

    def end():
        nonlocal word, run
        if word:
            letters = any(each not in LEET for each in word)
            table = LEET if letters else dict.fromkeys(LEET, "0")
            words.append("".join(table.get(each, each) for each in word))
        word = run = ""

    while place < len(text):
        character, read = text[place], folded(text[place])
        if character == "@" and in_word(text, place + 1):
            if not word:
                place += 1
                while place < len(text) and (text[place] == "_" or folded(text[place]) is not None):
                    place += 1
                continue
            read = "a"
        elif character == "$" and any(each not in LEET for each in word):
            read = "s"
        elif character == "$" and re.match("[a-zA-Z]", text[place + 1 :]):
            end()  # of a number
            read = "s"
        elif (
            character == "*"
            and word
            and in_word(text, place + len(re.match(r"\*+", text[place:])[0]))
        ):
            read = "*"
        if read is None:
            if word in ("http", "https") and text[place : place + 3] == "://":
                word = run = ""
                while place < len(text) and ord(text[place]) > 32:
                    place += 1
                continue
            end()
        elif read and is_apart(character):
            end()
            words.append(read)
        elif read:
            run = run + read if run[-1:] == read else read
            if len(word) < 40 and (len(run) <= 2 or read in LEET):
                word += read
        place += 1
    end()
    return words


def mixed(value):
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def fnv(codes, kind=0):
    value = 0xCBF29CE484222325 ^ kind
    for code in codes:
        value = (value ^ code) * 0x100000001B3 % 2**64
    return value


def features(text, fewest, most, words, bits):
    """Pairs of bucket and value."""
    return features_of_words(words_of(text), fewest, most, words, bits)


def features_of_words(read, fewest, most, words, bits):
    found, parts, before = [], 0, None
    for word in read:
        value = mixed(fnv(map(ord, word), 0x77))
        found.append((value, 1.0))
        parts += 1
        if words > 1 and before is not None:
            pair = ((before ^ 0x70) * 0x9E3779B97F4A7C15 + value) % 2**64
            found.append((mixed(pair), 1.0))
            parts += 1
        before = value
        if most:
            codes = [2, *map(ord, word), 3]
            grams = [
                codes[start : start + size]
                for start in range(len(codes))
                for size in range(fewest, most + 1)
                if start + size <= len(codes)
            ]
            found += [(mixed(fnv(gram)), 1 / sqrt(len(grams))) for gram in grams]
            parts += 1
    return [(key >> 64 - bits, value / sqrt(parts)) for key, value in found]


def scores(text, fewest, most, words, weights, bias):
    return scores_of_words(words_of(text), fewest, most, words, weights, bias)


def scores_of_word(word, fewest, most, words, weights, bias):
    return scores_of_words([word], fewest, most, words, weights, bias)


def scores_of_words(read, fewest, most, words, weights, bias):
    bits = len(weights).bit_length() - 1
    total = [float(each) for each in bias]
    for bucket, value in features_of_words(read, fewest, most, words, bits):
        for label in range(len(total)):
            total[label] += float(weights[bucket][label]) * value
    return total


def adagrad(rows, targets, labels, bits, rate, l2):
    """One pass over rows of features: weights, bias and mean loss."""
    weights, squares = [[0.0] * labels for _ in range(1 << bits)], [0.0] * (1 << bits)
    bias, bias_squares, loss = [0.0] * labels, [0.0] * labels, 0.0
    for row, target in zip(rows, targets, strict=True):
        score = [
            bias[label] + sum(weights[bucket][label] * value for bucket, value in row)
            for label in range(labels)
        ]
        total = sum(map(exp, score))
        loss -= log(exp(score[target]) / total)
        gap = [exp(each) / total - (label == target) for label, each in enumerate(score)]
        for label in range(labels):
            bias_squares[label] += gap[label] ** 2
            bias[label] -= rate * gap[label] / sqrt(bias_squares[label] + 1e-8)
        for bucket, value in row:
            squares[bucket] += sum(each**2 for each in gap) * value**2
            for label in range(labels):
                slope = gap[label] * value + l2 * weights[bucket][label]
                weights[bucket][label] -= rate / sqrt(squares[bucket] + 1e-8) * slope
    return weights, bias, loss / len(rows)
