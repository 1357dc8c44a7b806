import { accept, type Codec, refuseArgsz, refuseLength, viewOf } from './codec.ts';

/** The question about one thing of several, such as a region. */
export interface IndexedRequest {
  /** Bytes of reply payload that the client has room for, at least those of the structure. */
  readonly argsz: number;
  readonly index: number;
}

/** The question `what`, a structure of `length` bytes. Fields other than `argsz` and `index` are written as 0 and ignored. */
export function indexedRequest(what: string, length: number): Codec<IndexedRequest> {
  return {
    encode(value) {
      const bytes = new Uint8Array(length);
      const view = viewOf(bytes);
      view.setUint32(0, value.argsz, true);
      view.setUint32(8, value.index, true);
      return bytes;
    },
    decode(bytes) {
      if (bytes.length < length) return refuseLength(what, bytes, length);
      const view = viewOf(bytes);
      const argsz = view.getUint32(0, true);
      if (argsz < length) return refuseArgsz(what, argsz, length);
      return accept({ argsz, index: view.getUint32(8, true) });
    },
  };
}
