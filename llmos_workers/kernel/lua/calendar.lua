-- Shared function: the UTC day of a time. Included before scripts that count by day or month.

-- '2026-11-22' for Unix seconds from 0 on (years of four digits); its first seven characters
-- are the month. Days are counted in eras of 400 years that begin on the first of March.
local function day_of(seconds)
  local days = math.floor(seconds / 86400) + 719468
  local era = math.floor(days / 146097)
  local of_era = days - era * 146097
  local leap_days = math.floor(of_era / 1460) - math.floor(of_era / 36524)
    + math.floor(of_era / 146096)
  local year = math.floor((of_era - leap_days) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * from_march + 2) / 5) + 1
  local month = from_march < 10 and from_march + 3 or from_march - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02d', year, month, day)
end
