"""The rules of retraining that the small shop's model is given, each with who may promote."""

from tests.training import shop

MODEL = "return_soon"
POLICY = """
[monitoring]
label_wait_hours = 24
[retraining]
every_days = 10
test_days = 8
shadow_answers = 50
by = 0.5
promotion = "policy"
"""
PERSON = POLICY.replace('"policy"', '"person"')


def declare(workspace, text):
    path = workspace.model_file(MODEL)
    path.write_text((shop.DEFINITIONS / "models" / f"{MODEL}.toml").read_text() + text)
