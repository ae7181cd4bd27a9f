/** Put in by wasm/bundle.mjs, from package.json. */
declare const NUTSHELL_VERSION: string;

/** Of workers, whose types are not among those of pages. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}
