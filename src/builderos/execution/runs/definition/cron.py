"""When a schedule of five fields comes next."""

from datetime import datetime, timedelta
from typing import Final

from .triggers import CRON, cron_values

_DAYS: Final = 4 * 366 + 1  # the 29th of February comes within that


def next_after(schedule: str, after: datetime) -> datetime | None:
    """The first minute after `after` (aware) that fits, in its zone; None where none does, e.g. the 31st of February.

    Day and weekday: where both are restricted, one of them suffices, as in every cron.
    """
    fields = schedule.split()
    minutes, hours, days, months, weekdays = (
        set(cron_values(field, least, most)) for field, (_, least, most) in zip(fields, CRON, strict=True)
    )
    weekdays = {day % 7 for day in weekdays}
    either = fields[2] != "*" and fields[4] != "*"
    start = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    midnight = start.replace(hour=0, minute=0)
    times = [timedelta(hours=hour, minutes=minute) for hour in sorted(hours) for minute in sorted(minutes)]
    for number in range(_DAYS):
        day = midnight + timedelta(days=number)
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month not in months or not (of_month or of_week if either else of_month and of_week):
            continue
        found = next((day + time for time in times if day + time >= start), None)
        if found is not None:
            return found
    return None
