def test_every_stage_equals_the_reference(serq_report):
    assert serq_report.ok, str(serq_report)


def test_nothing_is_worse_than_the_baseline(serq_comparison):
    assert not serq_comparison.worse, str(serq_comparison)
