"""The main job on real readings with kills, as the example script does it, on a smaller cut."""

import pytest

from deploy.examples import end_to_end


@pytest.mark.servers
@pytest.mark.data
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_every_state_is_right_after_kills() -> None:
    if not end_to_end.DATA.exists():
        pytest.skip("needs ../shared/data")
    account = end_to_end.run(num_readings=40_000, kills=2, seed=11)
    print("\n".join(account.lines()))
    assert account.is_right, "\n".join(account.lines())
    assert account.readings == 40_000
    assert account.kills == 2
    assert account.state_differs < 1e-3, "rounding of another batch shape; the digest proves the readings"
