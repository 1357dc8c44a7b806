/**
 * The 128-bit Fault Recording register, FRCD_REG (VT-d 11.4.7.6).
 *
 * @module
 */

import type { Layout } from '../../layout.ts';
import { layout, readField, writeField } from '../../layout.ts';

/**
 * FI: address bits 63:12. SID: source. T1, T2: request type. PRIV, EXE, PASID: valid while PP is set. FR: reason.
 * AT: address type. F: the record is occupied (a written one clears it).
 */
export const FRCD: Layout<'FI' | 'SID' | 'T2' | 'PRIV' | 'EXE' | 'PP' | 'FR' | 'PASID' | 'AT' | 'T1' | 'F'> =
  layout(
    128,
    {
      FI: [63, 12],
      SID: [79, 64],
      T2: [92, 92],
      PRIV: [93, 93],
      EXE: [94, 94],
      PP: [95, 95],
      FR: [103, 96],
      PASID: [123, 104],
      AT: [125, 124],
      T1: [126, 126],
      F: [127, 127],
    },
    [
      [11, 0],
      [91, 80],
    ],
  );

/** Request types: T1 in bit 1, T2 in bit 0. */
export const REQUEST_WRITE = 0b00;
export const REQUEST_PAGE = 0b01;
export const REQUEST_READ = 0b10;
export const REQUEST_ATOMIC = 0b11;

/** AT: an untranslated request, a translation request, a translated request. */
export const AT_UNTRANSLATED = 0b00;
export const AT_TRANSLATION = 0b01;
export const AT_TRANSLATED = 0b10;

/** A fault as software reads it from a Fault Recording register. */
export interface FaultRecord {
  /** Page number of the address that the device asked for, before any translation. */
  readonly page: number;
  /** Source identifier (bus 15:8, device 7:3, function 2:0). */
  readonly SID: number;
  /** Reason code. */
  readonly FR: number;
  /** REQUEST_WRITE, REQUEST_PAGE, REQUEST_READ or REQUEST_ATOMIC. */
  readonly type: number;
  /** AT_UNTRANSLATED, AT_TRANSLATION or AT_TRANSLATED. */
  readonly AT: number;
  /** The PASID that the request carried; undefined when it carried none, RID_PASID notwithstanding. */
  readonly PASID?: number | undefined;
  /** Privileged mode requested. */
  readonly PRIV: boolean;
  /** Execute permission requested. */
  readonly EXE: boolean;
}

/** The four words of a Fault Recording register that holds `record`, with F set. */
export function encodeFaultRecord(record: FaultRecord): [number, number, number, number] {
  const words: [number, number, number, number] = [0, 0, 0, 0];
  const field = FRCD.fields;
  writeField(words, field.FI, record.page);
  writeField(words, field.SID, record.SID);
  writeField(words, field.FR, record.FR);
  writeField(words, field.T1, record.type >>> 1);
  writeField(words, field.T2, record.type & 1);
  writeField(words, field.AT, record.AT);
  if (record.PASID !== undefined) {
    writeField(words, field.PP, 1);
    writeField(words, field.PASID, record.PASID);
    writeField(words, field.PRIV, record.PRIV ? 1 : 0);
    writeField(words, field.EXE, record.EXE ? 1 : 0);
  }
  writeField(words, field.F, 1);
  return words;
}

/** The record in the four words at `words[base]`, or undefined while F is clear. */
export function decodeFaultRecord(words: ArrayLike<number>, base = 0): FaultRecord | undefined {
  const field = FRCD.fields;
  if (readField(words, field.F, base) === 0) return undefined;
  const withPasid = readField(words, field.PP, base) === 1;
  return {
    page: readField(words, field.FI, base),
    SID: readField(words, field.SID, base),
    FR: readField(words, field.FR, base),
    type: readField(words, field.T1, base) * 2 + readField(words, field.T2, base),
    AT: readField(words, field.AT, base),
    PASID: withPasid ? readField(words, field.PASID, base) : undefined,
    PRIV: withPasid && readField(words, field.PRIV, base) === 1,
    EXE: withPasid && readField(words, field.EXE, base) === 1,
  };
}
