"""A job's conversation in the shape of the Code-Feedback dataset (Zheng et al. 2024)."""

from __future__ import annotations

from typing import Any

from oci_lsp.refine.transcript import Transcript


def conversation(transcript: Transcript) -> dict[str, Any] | None:
    """`id` and `messages`: `user` and `assistant` in turn, the last one the assistant's.

    The dataset knows no system role: what it says opens the first user message. None where the
    model never answered.
    """
    turns: list[dict[str, str]] = []
    for message in transcript.result.messages:
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{message.content}"
        else:
            turns.append({"role": role, "content": message.content})
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    return {"id": transcript.id, "messages": turns} if turns else None
