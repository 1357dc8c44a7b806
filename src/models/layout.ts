/**
 * Bit layouts, spelt with the bit numbers that the specification prints.
 *
 * Every structure and register is handled as little-endian 32-bit words: word 0 holds bits 31:0, word 1 bits 63:32 and
 * so on. A mask is a number from 0 to 2^32-1. JavaScript's bit operators return signed words, so compare with
 * `!== 0` or make both sides unsigned with `>>> 0`.
 *
 * @module
 */

/** A field as the specification writes it: most significant bit, least significant bit, both inclusive. */
export type Bits = readonly [msb: number, lsb: number];

/** One field of a layout. */
export interface Field {
  /** Lowest bit, counted from bit 0 of the whole structure. */
  readonly lsb: number;
  /** Highest bit, inclusive. */
  readonly msb: number;
  /** The 32-bit word that holds the lowest bit. */
  readonly word: number;
  /** Position of the lowest bit inside `word`. */
  readonly shift: number;
  /** The field's bits inside `word`; a field that crosses into the next word has further bits there. */
  readonly mask: number;
}

/** A structure of `bits` bits: its fields, and per 32-bit word what must be zero and what hardware ignores. */
export interface Layout<Name extends string> {
  /** Size in bits, a multiple of 32. */
  readonly bits: number;
  /** The fields under the specification's names. */
  readonly fields: Readonly<Record<Name, Field>>;
  /** Reserved bits of each word: a one there in a present structure is an error, whatever the capabilities. */
  readonly reserved: readonly number[];
  /** Bits of each word that hardware never looks at. */
  readonly ignored: readonly number[];
}

/** The mask of one bit of a word, 0 to 31. */
export function bit(n: number): number {
  return (1 << n) >>> 0;
}

/** The mask of bits `msb` to `lsb` (both inclusive) of a word. */
export function mask(msb: number, lsb: number): number {
  const width = msb - lsb + 1;
  return width === 32 ? 0xffffffff : (((1 << width) - 1) << lsb) >>> 0;
}

/** The bits of `range` that lie in word `word`, as a mask of that word; 0 when there are none. */
export function maskInWord(range: Bits, word: number): number {
  const first = word * 32;
  const msb = Math.min(range[0], first + 31);
  const lsb = Math.max(range[1], first);
  return lsb > msb ? 0 : mask(msb - first, lsb - first);
}

function wordMasks(words: number, ranges: readonly Bits[]): number[] {
  const masks: number[] = [];
  for (let word = 0; word < words; word++) {
    let sum = 0;
    for (const range of ranges) sum |= maskInWord(range, word);
    masks.push(sum >>> 0);
  }
  return masks;
}

/** Builds a layout from the specification's figure: fields, reserved ranges, ignored ranges. */
export function layout<Name extends string>(
  bits: number,
  fields: Readonly<Record<Name, Bits>>,
  reserved: readonly Bits[] = [],
  ignored: readonly Bits[] = [],
): Layout<Name> {
  const built = {} as Record<Name, Field>;
  for (const name of Object.keys(fields) as Name[]) {
    const [msb, lsb] = fields[name];
    const word = lsb >>> 5;
    built[name] = { lsb, msb, word, shift: lsb & 31, mask: maskInWord([msb, lsb], word) };
  }
  const words = bits >>> 5;
  return {
    bits,
    fields: built,
    reserved: wordMasks(words, reserved),
    ignored: wordMasks(words, ignored),
  };
}

/**
 * The value of `field` (up to 52 bits, exact) in the structure that starts at `words[base]`. Words past the end of
 * `words` read as zero.
 */
export function readField(words: ArrayLike<number>, field: Field, base = 0): number {
  const at = base + field.word;
  const width = field.msb - field.lsb + 1;
  let value = ((words[at] ?? 0) & field.mask) >>> field.shift;
  let have = 32 - field.shift;
  for (let next = at + 1; have < width; next++) {
    const take = Math.min(32, width - have);
    value += (((words[next] ?? 0) & mask(take - 1, 0)) >>> 0) * 2 ** have;
    have += take;
  }
  return value;
}

/** Puts `value` (an integer that fits, otherwise cut to the field's width) into the structure at `words[base]`. */
export function writeField(words: { [word: number]: number }, field: Field, value: number, base = 0): void {
  let rest = value;
  for (let word = field.word; word <= field.msb >>> 5; word++) {
    const bits = maskInWord([field.msb, field.lsb], word);
    const shift = word === field.word ? field.shift : 0;
    const span = 2 ** (32 - shift);
    const part = rest % span;
    words[base + word] = (((words[base + word] ?? 0) & ~bits) | ((part << shift) & bits)) >>> 0;
    rest = Math.floor(rest / span);
  }
}

/** The page number that an address field of bits 63:12 names, given the words with bits 31:0 and 63:32. */
export function pageOf(lo: number, hi: number): number {
  return (hi >>> 0) * 0x100000 + (lo >>> 12);
}

/**
 * The mask of the high word (bits 63:32) that is above a host address width: bits 63:`haw`.
 *
 * @param haw host address width in bits, 32 to 64
 */
export function aboveHaw(haw: number): number {
  return haw >= 64 ? 0 : mask(31, haw - 32);
}
