/** ELF64 cores made to order, honest or lying. */

export interface BuiltSegment {
  paddr: bigint;
  /** Bytes in the file. */
  content: Uint8Array;
  /** p_memsz; as many bytes as the content when absent. */
  memBytes?: bigint;
  /** p_filesz when it shall lie. */
  fileBytes?: bigint;
  /** p_offset when it shall lie. */
  offset?: bigint;
  /** p_type; PT_LOAD when absent. */
  type?: number;
}

export interface BuildOptions {
  /** Write the count of program headers as PN_XNUM with a section header, as for more than 65,534. */
  extended?: boolean;
  /** Bytes between the headers and the content of the first segment. */
  gap?: number;
}

/** The bytes of a core with these segments, their content one after the other, ending with the last. */
export function buildElf(segments: BuiltSegment[], options: BuildOptions = {}): Uint8Array<ArrayBuffer> {
  const sections = options.extended === true ? 64 : 0;
  const first = 64 + segments.length * 56 + sections + (options.gap ?? 0);
  const total = segments.reduce((sum, { content }) => sum + content.length, first);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 4, true); // e_type ET_CORE
  view.setUint16(18, 62, true); // e_machine EM_X86_64
  view.setUint32(20, 1, true); // e_version
  view.setBigUint64(32, 64n, true); // e_phoff
  view.setUint16(52, 64, true); // e_ehsize
  view.setUint16(54, 56, true); // e_phentsize
  view.setUint16(56, sections === 0 ? segments.length : 0xffff, true); // e_phnum
  if (sections > 0) {
    const shoff = 64 + segments.length * 56;
    view.setBigUint64(40, BigInt(shoff), true); // e_shoff
    view.setUint16(58, 64, true); // e_shentsize
    view.setUint16(60, 1, true); // e_shnum
    view.setUint32(shoff + 44, segments.length, true); // sh_info
  }
  let offset = first;
  segments.forEach((segment, i) => {
    const at = 64 + i * 56;
    view.setUint32(at, segment.type ?? 1, true); // p_type
    view.setBigUint64(at + 8, segment.offset ?? BigInt(offset), true); // p_offset
    view.setBigUint64(at + 24, segment.paddr, true); // p_paddr
    view.setBigUint64(at + 32, segment.fileBytes ?? BigInt(segment.content.length), true); // p_filesz
    view.setBigUint64(at + 40, segment.memBytes ?? BigInt(segment.content.length), true); // p_memsz
    bytes.set(segment.content, offset);
    offset += segment.content.length;
  });
  return bytes;
}

/** `pages` pages whose words count up from `seed`. */
export function patternPages(pages: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(pages * 1024);
  for (let i = 0; i < words.length; i++) {
    words[i] = seed + i;
  }
  return new Uint8Array(words.buffer);
}
