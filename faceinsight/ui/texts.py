"""Every text of the page that is more than a label."""

# The drawer is opened and closed by assets/js/drawer.js, which enables its button.
HEADER = """
<h1>FaceInsight</h1>
<p>Where every face is, and its apparent age, gender and emotion.</p>
<button class="quiet-button" id="settings-button" aria-expanded="false" aria-controls="settings" disabled>
Settings</button>
"""
THRESHOLD_INFO = "How sure the detector must be that it sees a face. Higher: fewer false alarms, and more faces missed."
SMALLEST_INFO = (
    "Leaves out faces whose longer side has fewer pixels. At 0 none; the webcam leaves out those under a sixteenth of "
    "its picture."
)
LABELS_INFO = "What is written beside each face."
BLUR_INFO = "Makes faces unrecognisable in the picture, the clip and every file that shows them."
SMOOTHING_INFO = "Webcam and video, in percent. Higher: answers move less from frame to frame, and follow change later."
PACK_INFO = "The models that answer. The tab Models & about says how good each is."


NO_FACE = (
    "No face found. Faces seen from behind, far to the side, half covered, very dark or very "
    "small are missed: lower the detection threshold, or try a closer picture."
)
NO_EMOTION = "This model pack says nothing about emotions: choose another one in Settings."
WEBCAM_HINT = (
    "A camera needs a page on https or localhost. Frames are analysed and forgotten: what you record stays in "
    "this page, until you save it."
)
# What a heading of a table means.
MEANINGS = {
    "Range": "Four of five people who look so are this old, as far as the model can tell.",
    "Score": "How sure the detector is that this is a face.",
    "Box": "Left, top, right and bottom of the face, in pixels of the picture.",
}

ABOUT = """
### What the numbers mean, and what they do not

Every value is an estimate from how a face looks in one picture. **Age** is apparent age, **gender**
is gender presentation, **emotion** is facial expression. None of them says who somebody is, how
somebody feels, or how somebody identifies. Estimates are worse for children, old people, faces
turned away, bad light, and for groups that the training pictures show seldom. Do not use them
for decisions about people.

### Your pictures

Pictures, frames and clips are analysed on the computer that runs this page. They are not sent
anywhere else, webcam frames are never written to disk, and uploads and results are deleted
within half an hour, or when the server stops. There is no telemetry.
"""

MANAGERS_ONLY = (
    "Whoever runs this page decides which packs are here: with `faceinsight models fetch PACK` on its machine, or from "
    "this tab, where the page is started with --allow-fetch."
)
# Of the packs that can be downloaded, where their makers' papers, or others who measured, say it.
PUBLISHED = """
### How good the other packs are

What their makers say: InsightFace's small detector has an average precision of 90.6, 88.1 and 68.5 % on WIDER FACE's
easy, medium and hard faces ([SCRFD, arXiv 2105.04714](https://arxiv.org/abs/2105.04714)). HSEmotion's networks are
right about 61.3 % (B0) and 63.0 % (B2) of AffectNet's eight expressions ([its table](https://github.com/av-savchenko/face-emotion-recognition)).
`faceinsight evaluate` measures any pack on data that you have, age and gender too.
"""

FOOTER = (
    "Estimates of apparent age, gender presentation and expression; never identity, never what "
    "somebody feels; not for decisions about people."
)
