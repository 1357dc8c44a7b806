import type { Codec } from '../../../src/vfio-user/wire/index.ts';
import { FuzzFinding, type FuzzTally } from './fuzz-finding.ts';

/** What any codec owes for any bytes. Throws a {@link FuzzFinding} for what it leaves owing. */
export function checkCodec(what: string, codec: Codec<unknown>, bytes: Uint8Array, tally: FuzzTally): void {
  const decoded = guarded(`decoding ${what}`, bytes, () => codec.decode(bytes));
  if (!decoded.ok) {
    tally.refused++;
    const { errno, reason } = decoded;
    if (Number.isInteger(errno) && errno > 0 && reason.length > 0 && reason.length < 200) return;
    throw new FuzzFinding(`decoding ${what} gave no errno or no reason`, bytes);
  }
  tally.accepted++;
  const encoded = guarded(`encoding ${what}`, bytes, () => codec.encode(decoded.value));
  const again = guarded(`decoding ${what} again`, bytes, () => codec.decode(encoded));
  if (!again.ok) throw new FuzzFinding(`${what} is refused when it is sent on: ${again.reason}`, bytes);
  const encodedAgain = guarded(`encoding ${what} again`, bytes, () => codec.encode(again.value));
  if (!isSame(encoded, encodedAgain)) throw new FuzzFinding(`${what} changes when it is sent on`, bytes);
}

/** Does `action`, whose throwing is a {@link FuzzFinding}. */
export function guarded<T>(what: string, bytes: Uint8Array, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new FuzzFinding(`${what} threw ${String(error)}`, bytes);
  }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}
