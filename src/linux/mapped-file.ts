import { closeSync, fstatSync, openSync } from 'node:fs';
import { PAGE_SIZE, type PageCursor } from '../memory/index.ts';
import type { Descriptor, SharedRamBlock } from '../vfio-user/index.ts';
import { FileMapping } from './file-mapping.ts';
import { needLibc } from './libc.ts';
import { MappedRamBlock } from './mapped-ram-block.ts';
import { ownDescriptor } from './own-descriptor.ts';
import { callFailed, SystemError } from './system-error.ts';

/** A file of RAM that another program made, mapped for reading and writing. */
export class MappedFile implements SharedRamBlock {
  readonly pages: number;
  /** What to send to peers: the descriptor is held here until `close`, and the block begins at byte 0 of it. */
  readonly share: { readonly descriptor: Descriptor; readonly offset: bigint };
  readonly #mapping: FileMapping;
  readonly #ram: MappedRamBlock;

  /** Both belong to the block from now on. */
  constructor(descriptor: Descriptor, mapping: FileMapping) {
    this.share = { descriptor, offset: 0n };
    this.#mapping = mapping;
    this.#ram = new MappedRamBlock(mapping);
    this.pages = this.#ram.pages;
  }

  locate(page: number, cursor: PageCursor, forWrite: boolean): void {
    this.#ram.locate(page, cursor, forWrite);
  }

  /** Lets go of the file. The block must not be used any more. */
  close(): void {
    if (this.share.descriptor.closed) return;
    this.#mapping.release();
    this.share.descriptor.release();
  }
}

/**
 * Maps the whole pages of the file at `path`, such as the mem-path of QEMU's memory-backend-file with share=on. The file
 * must not be truncated while it is mapped: the process would die of SIGBUS. Throws a SystemError, or what node:fs throws.
 */
export function mapFile(path: string): MappedFile {
  const libc = needLibc(`mapping ${path}`);
  const fd = openSync(path, 'r+');
  try {
    const { size } = fstatSync(fd);
    const bytes = size - (size % PAGE_SIZE);
    if (bytes === 0) {
      throw new SystemError(
        'VIOMMU_SYSTEM',
        `mapping ${path}: it has ${size} bytes, but RAM is at least a page of 4 KiB; give the file of a running guest`,
      );
    }
    const mapping = FileMapping.map(libc, fd, bytes, true);
    if (typeof mapping === 'number') throw callFailed(`mapping ${path}`, 'mmap', mapping);
    return new MappedFile(ownDescriptor(libc, fd), mapping);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
