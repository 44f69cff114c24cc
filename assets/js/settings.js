// The settings of the drawer, which ui/demo.py hands to the page's code.

/** @returns {any[] | undefined} their values, in the order of `Settings` of ui/parts.py; undefined before they are there */
export const settings = () => /** @type {any} */ (window).faceInsightSettings;

/** Whether faces are to be blurred. */
export const blurred = () => Boolean(settings()?.[4]);
