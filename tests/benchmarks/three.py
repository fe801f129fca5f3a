"""The hand-written workflow: three activities in a row."""

from datetime import timedelta

from temporalio import workflow


@workflow.defn
class Three:
    @workflow.run
    async def run(self, base: str) -> dict[str, object]:
        answer: dict[str, object] = {}
        for step in ("one", "two", "three"):
            answer = await workflow.execute_activity(
                "fetch",
                f"{base}/{step}",
                result_type=dict,
                start_to_close_timeout=timedelta(seconds=300),
            )
        return answer
