SELECT day, name FROM raw_federal_holidays
