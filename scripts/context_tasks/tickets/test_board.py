from tickets.board import Board
from tickets.status import Status


def test_pending():
    board = Board()
    for status in Status:
        board.put(status.value, status.name)
    settled = {status.value for status in Status if status.is_settled}
    assert board.pending() == [n for n in range(1, 7) if n not in settled]
