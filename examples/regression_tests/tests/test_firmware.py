from serq_mcu.show.verification import comparison_text, report_text


def test_every_stage_equals_the_reference(serq_report):
    assert serq_report.ok, report_text(serq_report)


def test_nothing_is_worse_than_the_baseline(serq_comparison):
    assert not serq_comparison.worse, comparison_text(serq_comparison)
