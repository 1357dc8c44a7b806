import { DeviceRegion } from '../../memory/index.ts';
import type { SharedFiles } from '../../vfio-user/index.ts';

/** `files`, calling `tell` at the first file that is read and written instead of mapped. */
export function tellUnsealed(files: SharedFiles, tell: () => void): SharedFiles {
  let told = false;
  return {
    identify: (descriptor) => files.identify(descriptor),
    open: (descriptor) => {
      const opened = files.open(descriptor);
      if (!told && 'region' in opened && opened.region instanceof DeviceRegion) {
        told = true;
        tell();
      }
      return opened;
    },
  };
}
