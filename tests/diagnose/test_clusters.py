from volano.diagnose.clusters import cluster_prompts, distinguishing, medoid_of

SUBJECTS = [
    f"{a} {b}"
    for a in ("red", "blue", "old", "new", "big")
    for b in ("cats", "dogs", "cars", "trees", "stones", "birds")
]
WHICH = [f"Which function handles {each}?" for each in SUBJECTS]
WHAT = [f"What is the purpose of {each}?" for each in SUBJECTS]
HOW = [f"How would I get rid of {each} quickly" for each in SUBJECTS[:10]]


def clusters(prompts, others=()):
    return cluster_prompts(prompts, list(others), max_clusters=6, min_cases=5)


def test_questions_of_one_form_are_one_cluster_whatever_they_are_about():
    prompts = [each for pair in zip(WHICH, WHAT, strict=True) for each in pair] + HOW
    found = clusters(prompts)
    assert [{prompts[place] for place in each.members} for each in found] == [
        set(WHICH),
        set(WHAT),
        set(HOW),
    ]
    assert found[0].words[0] == "which function handles"
    assert "the purpose of" in found[1].words


def test_the_medoid_is_of_the_form_that_most_have():
    assert medoid_of([HOW[0], *WHICH]) > 0
    assert medoid_of(["alpha", "beta"]) == 0, "nothing is shared"


def test_the_same_prompts_give_the_same_clusters():
    assert clusters(WHICH + WHAT) == clusters(WHICH + WHAT)


def test_few_or_unlike_prompts_are_no_cluster():
    assert clusters(WHICH[:4]) == []
    assert clusters(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]) == []


def test_words_that_the_rest_uses_as_well_tell_nothing():
    assert distinguishing(WHICH, WHICH) == ()
    assert distinguishing(WHICH, WHAT)[0] == "which function handles"
