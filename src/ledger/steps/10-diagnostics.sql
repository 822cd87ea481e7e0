-- What stands beside the message of a fault, as JSON: `hint`, the way out, and `details`, what the API told of the fields
-- at fault. Hints stood behind the message before.
ALTER TABLE call ADD COLUMN beside TEXT;
ALTER TABLE live ADD COLUMN beside TEXT;
ALTER TABLE state ADD COLUMN beside TEXT;

UPDATE call SET beside = json_object('hint', substr(message, instr(message, '; hint: ') + 8)),
    message = substr(message, 1, instr(message, '; hint: ') - 1)
  WHERE instr(message, '; hint: ') > 0;
UPDATE live SET beside = json_object('hint', substr(failure, instr(failure, '; hint: ') + 8)),
    failure = substr(failure, 1, instr(failure, '; hint: ') - 1)
  WHERE instr(failure, '; hint: ') > 0;
UPDATE state SET beside = json_object('hint', substr(reason, instr(reason, '; hint: ') + 8)),
    reason = substr(reason, 1, instr(reason, '; hint: ') - 1)
  WHERE instr(reason, '; hint: ') > 0;
