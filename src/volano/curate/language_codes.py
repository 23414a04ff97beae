"""The languages that fastText's lid.176 tells apart: what a recipe may name.

Written down, because a recipe is checked before any model is loaded. A test holds it to the model.
"""

_CODES = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb
co cs cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he
hi hif hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez
li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn
no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq
sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo
yue zh
"""
LANGUAGES = tuple(_CODES.split())
# As they are often written instead: by name, or with the three letters of ISO 639-2 or 639-3.
_MEANT = {
    "ar": "arabic ara", "cs": "czech ces cze cz", "da": "danish dan dk", "de": "german deu ger",
    "el": "greek ell gre gr", "en": "english eng", "es": "spanish spa", "fa": "persian fas per",
    "fi": "finnish fin", "fr": "french fra fre", "he": "hebrew heb iw", "hi": "hindi hin",
    "hu": "hungarian hun", "id": "indonesian ind", "it": "italian ita", "ja": "japanese jpn jp",
    "ko": "korean kor kr", "nl": "dutch nld dut", "no": "norwegian nor nb nob", "pl": "polish pol",
    "pt": "portuguese por", "ro": "romanian ron rum", "ru": "russian rus", "sv": "swedish swe se",
    "th": "thai tha", "tr": "turkish tur", "uk": "ukrainian ukr ua", "vi": "vietnamese vie vn",
    "zh": "chinese zho chi cn cmn",
}  # fmt: skip


def nearest_language(code: str) -> str | None:
    """The code that was most likely meant by one that is none: en by english, eng or en-US."""
    plain = code.lower().replace("_", "-")
    for candidate in (plain, plain.partition("-")[0]):
        if candidate in LANGUAGES:
            return candidate
        for language, others in _MEANT.items():
            if candidate in others.split():
                return language
    return None
