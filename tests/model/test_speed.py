from tiny_decoder import tiny_decoder

from volano.model.speed import measure_speed


def test_every_prompt_gives_the_tokens_asked_for():
    speed = measure_speed(tiny_decoder(), [[1, 2], [3], [4, 5, 6]], new_tokens=5, alone=2)
    assert speed.new_tokens == 15
    assert 0 < speed.seconds_to_first_token < 5
    assert speed.tokens_per_second > 0
    assert speed.tokens_per_second_alone > 0
