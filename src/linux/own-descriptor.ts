import { Descriptor } from '../vfio-user/index.ts';
import type { Libc } from './libc.ts';

/** A descriptor of this process, closed when its last holder releases it. */
export function ownDescriptor(libc: Libc, fd: number): Descriptor {
  // Linux frees the number even when close reports an error, so there is nothing to retry.
  return new Descriptor(fd, (number) => void libc.close(number));
}
