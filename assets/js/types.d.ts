// What the modules hand to each other.

/** x1, y1, x2, y2 in pixels of the analysed picture. */
export type Box = [number, number, number, number];

/** Name, share in [0, 1] and text of every emotion. */
export type Shares = [string, number, string][];

export interface Face {
  /** The person's number; 0 for none yet. */
  id: number;
  box: Box;
  /** The eyes-to-mouth area, which no label may touch. */
  core: Box;
  /** Of CSS. */
  color: string;
  /** The number as text; "" for none. */
  tag: string;
  /** The rest of the label. */
  lines: string[];
}

/** A face of ui/live.py, with what is read of it rather than looked at. */
export interface LiveFace extends Face {
  /** The table's. */
  cells: (string | number)[];
  /** In years. */
  age: number | null;
  /** The least and the greatest. */
  range: [number, number] | null;
  gender: Shares | null;
  emotion: Shares | null;
}

/** What a card says of somebody. */
export interface Card {
  id: number;
  color: string;
  /** In years. */
  age: number | null;
  /** The least and the greatest. */
  range: [number, number] | null;
  gender: Shares | null;
  emotion: Shares | null;
}

/** A face of a photo. */
export interface CardFace extends LiveFace, Card {
  id: number;
  color: string;
  emotion: Shares | null;
}

/** Somebody in a clip. */
export interface ClipPerson extends Card {
  /** On screen. */
  seconds: number;
  /** When first seen, in seconds of the clip. */
  first: number;
  /** A data URL; "" for none. */
  portrait: string;
}

/** The server's, about a clip: what it is, how far its analysis is, or what was found. */
export interface ClipAnswer {
  /** The number of the request. */
  request: number;
  phase: "ready" | "running" | "done" | "failed";
  words: string;
  /** Once ready: the first frame, as a data URL. */
  poster: string;
  /** While running: in [0, 1]. */
  share: number;
  /** While running: the last frame, as a data URL. */
  preview: string;
  /** Once done: where the part that was looked at begins, in seconds of the clip. */
  start: number;
  note: string;
  people: ClipPerson[];
  /** HTML. */
  charts: string;
  rows: (string | number)[][];
  left_out: string;
  /** Addresses. */
  files: { clip: string; csv: string; people: string; json: string };
}

/** The server's, about one photo. */
export interface PhotoAnswer {
  /** Width and height in pixels that the boxes are in; null for one that cannot be read. */
  size: [number, number] | null;
  faces: CardFace[];
  /** How many faces there are. */
  words: string;
  /** What was left out; else "". */
  note: string;
  /** Why it cannot be read; else "". */
  problem: string;
  /** Why nothing is said about emotions; else "". */
  without: string;
  /** A data URL, where the browser cannot show the photo itself; else "". */
  preview: string;
}

/** The server's, about all photos that were looked at so far. */
export interface PhotosAnswer {
  /** The number of the request. */
  request: number;
  photos: PhotoAnswer[];
  /** About all of them. */
  words: string;
  /** Whether there are no more to come. */
  done: boolean;
  /** Tables over all of them, once done. */
  csv: string;
  json: string;
}

/** The server's, about one frame. */
export interface Answer {
  /** Width and height of the analysed picture in pixels. */
  size: [number, number];
  faces: LiveFace[];
  /** Why nothing is said about emotions; else "". */
  without: string;
  /** Milliseconds that the server took. */
  ms: number;
  /** The page's status line. */
  status: string;
  /** Of the table of the frame, where it is to be recorded; one a face. */
  rows?: Row[];
}

/** Columns of faceinsight/export.py. */
export type Row = Record<string, string | number | null>;

export type Picture = HTMLCanvasElement | HTMLVideoElement | HTMLImageElement | ImageBitmap;

/** What is drawn over a picture. */
export interface Scene {
  /** Width and height of the picture that the boxes are in, in its pixels. */
  size: [number, number];
  faces: Face[];
  /** Whether the faces themselves are hidden. */
  blur: boolean;
  /** The number of the face that is marked. */
  chosen?: number | null;
  /** Whether boxes and labels are left out. */
  bare?: boolean;
  /** The analysed picture; where it is given, it is drawn in place of the one below. */
  still?: Picture;
}

/** A model pack, as ui/shelf.py tells of it. */
export interface Pack {
  name: string;
  title: string;
  description: string;
  state: "here" | "partly" | "absent" | "unusable";
  /** Where its files are, or why it cannot be used. */
  words: string;
  files: { stage: string; name: string; size: string; state: string }[];
  licences: string[];
  /** What can be done with it. */
  fetch: boolean;
  remove: boolean;
  verify: boolean;
}

/** The server's, about all packs. */
export interface PacksAnswer {
  packs: Pack[];
  /** The last one; its share in [0, 1] where that is known. */
  download: { pack: string; words: string; share: number | null; running: boolean; failed: boolean } | null;
  /** Whether this visitor may download and remove. */
  may: boolean;
  /** Why not. */
  why: string;
  /** What came of what was asked for, or why nothing did. */
  words: string;
  problem: string;
}
