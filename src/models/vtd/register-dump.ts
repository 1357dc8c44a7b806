/** Registers of a stopped guest, as a dump of the register set holds them: little-endian bytes from offset 0. @module */
import { RegisterDumpError } from '../register-dump-error.ts';
import type { RegisterFile } from '../register-file.ts';
import { overlappingRegisters } from './register-set.ts';
import * as spec from './spec/index.ts';

/** Up to and including ECAP_REG: enough to know the unit. */
const CAPABILITY_BYTES = spec.ECAP_REG + 8;
/** Up to and including IRTA_REG: enough to know its state. */
const STATE_BYTES = spec.IRTA_REG + 8;

/**
 * The capabilities that a dump reports. Throws RegisterDumpError when it ends before ECAP_REG does, or when they place
 * two registers at one offset.
 */
export function capabilityOfDump(bytes: Uint8Array): spec.Capability {
  if (bytes.length < CAPABILITY_BYTES) {
    throw new RegisterDumpError(
      `the register dump has ${bytes.length} bytes and ends before ECAP_REG at 0x10 does: save the registers from ` +
        'offset 0 to the end of the last Fault Recording register',
    );
  }
  const word = wordsOf(bytes);
  const capability = spec.decodeCapability(
    word(spec.VER_REG),
    { lo: word(spec.CAP_REG), hi: word(spec.CAP_REG + 4) },
    { lo: word(spec.ECAP_REG), hi: word(spec.ECAP_REG + 4) },
  );
  const overlap = overlappingRegisters(spec.registerWords(capability, 64));
  if (overlap === undefined) return capability;
  throw new RegisterDumpError(`the register dump describes no usable unit: ${overlap}`);
}

/**
 * Puts the registers of `bytes` into `registers`; those behind IRTA_REG that the dump does not reach, which are IOTLB_REG
 * and the fault records, are as after a reset. Throws RegisterDumpError, and changes nothing, when the dump is shorter
 * than that, is of a unit with other capabilities, or holds a queue whose head lies outside it.
 */
export function restoreRegisters(
  registers: RegisterFile,
  bytes: Uint8Array,
  capability: spec.Capability,
): void {
  const missing = registers.words.find(({ offset }) => offset < STATE_BYTES && offset + 4 > bytes.length);
  if (missing !== undefined) {
    throw new RegisterDumpError(
      `the register dump has ${bytes.length} bytes and ends before ${missing.name} at ` +
        `0x${missing.offset.toString(16)}: save ${registers.bytes} bytes, or ${STATE_BYTES} without the fault records`,
    );
  }
  const dumped = capabilityOfDump(bytes);
  for (const name of Object.keys(capability) as (keyof spec.Capability)[]) {
    if (dumped[name] === capability[name]) continue;
    throw new RegisterDumpError(
      `the register dump is of a unit with ${name} ${dumped[name]} instead of ${capability[name]}: build the unit ` +
        'from the dump (VtdIommu.fromRegisters)',
    );
  }
  const word = wordsOf(bytes);
  const queueBytes = 4096 << (word(spec.IQA_REG) & spec.IQA_QS);
  const head = word(spec.IQH_REG);
  const enabled = (word(spec.GSTS_REG) & spec.GSTS_QIES) !== 0;
  if (enabled && (head >= queueBytes || head % stride(word(spec.IQA_REG)) !== 0)) {
    throw new RegisterDumpError(
      `IQH_REG at 0x80 of the register dump holds 0x${head.toString(16)}, which is no descriptor of the queue of ` +
        `${queueBytes} bytes that IQA_REG describes`,
    );
  }
  registers.reset();
  for (const { name, offset } of registers.words) {
    if (!NOT_RESTORED.has(name) && offset + 4 <= bytes.length) registers.set(offset, word(offset));
  }
}

/** What the capabilities say already, and a command that has been given. */
const NOT_RESTORED: ReadonlySet<string> = new Set(['VER_REG', 'CAP_REG', 'ECAP_REG', 'GCMD_REG']);

function stride(iqa: number): number {
  return (iqa & spec.IQA_DW) === 0 ? 16 : 32;
}

function wordsOf(bytes: Uint8Array): (offset: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (offset) => view.getUint32(offset, true);
}
