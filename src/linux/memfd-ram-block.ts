import { bytesOf } from '../memory/index.ts';
import { FileMapping } from './file-mapping.ts';
import {
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Libc,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  needLibc,
} from './libc.ts';
import { MappedFile } from './mapped-file.ts';
import { ownDescriptor } from './own-descriptor.ts';
import { callFailed } from './system-error.ts';

/**
 * RAM that can be shared: memory behind a descriptor. It is sealed, so no peer can change its size, and peers that
 * insist on that may map it.
 */
export class MemfdRamBlock extends MappedFile {
  /** `pages` pages, at least one, of zeros; `name` is what /proc shows. Throws a SystemError when the system refuses. */
  static create(name: string, pages: number): MemfdRamBlock {
    const libc = needLibc('shared RAM');
    const fd = libc.memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) throw callFailed(`making RAM ${name}`, 'memfd_create', libc.errno());
    const descriptor = ownDescriptor(libc, fd);
    try {
      return new MemfdRamBlock(descriptor, sizedAndSealed(libc, fd, name, pages));
    } catch (error) {
      descriptor.release();
      throw error;
    }
  }
}

function sizedAndSealed(libc: Libc, fd: number, name: string, pages: number): FileMapping {
  const what = `making RAM ${name} of ${pages} pages`;
  if (libc.ftruncate(fd, bytesOf(pages)) < 0) throw callFailed(what, 'ftruncate', libc.errno());
  if (libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
    throw callFailed(what, 'fcntl', libc.errno());
  }
  const mapping = FileMapping.map(libc, fd, Number(bytesOf(pages)), true);
  if (typeof mapping === 'number') throw callFailed(what, 'mmap', mapping);
  return mapping;
}
