;;; ingle-markdown.el --- The model's Markdown, with faces  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns how answers look: faces for the Markdown that models write, and for
;; the code in it those of its own major mode.  The text stays as it is.

;;; Code:

(require 'cl-lib)
(require 'ingle-settings)

(defface ingle-heading '((t :inherit bold))
  "Face of headings in answers."
  :group 'ingle)

(defface ingle-code '((t :inherit (fixed-pitch font-lock-constant-face)))
  "Face of code within a line of an answer."
  :group 'ingle)

(defface ingle-code-block '((t :inherit fixed-pitch :extend t))
  "Face of code blocks in answers, beneath the faces of their language."
  :group 'ingle)

(defface ingle-markup '((t :inherit shadow))
  "Face of Markdown's own characters in answers."
  :group 'ingle)

(defconst ingle-markdown--modes
  '(("c++" . c++-mode) ("cpp" . c++-mode) ("py" . python-mode) ("js" . js-mode)
    ("javascript" . js-mode) ("jsx" . js-mode) ("ts" . typescript-mode)
    ("bash" . sh-mode) ("shell" . sh-mode) ("sh" . sh-mode) ("zsh" . sh-mode)
    ("console" . sh-mode) ("elisp" . emacs-lisp-mode) ("emacs-lisp" . emacs-lisp-mode)
    ("rs" . rust-mode) ("rb" . ruby-mode) ("golang" . go-mode) ("diff" . diff-mode))
  "Major modes of languages whose mode has another name.")

(defun ingle-markdown--mode (language)
  "The major mode for LANGUAGE, or nil."
  (let ((mode (or (cdr (assoc (downcase language) ingle-markdown--modes))
                  (intern (concat (downcase language) "-mode")))))
    (and (not (string-empty-p language)) (fboundp mode) mode)))

(defun ingle-markdown--add-face (start end face)
  "Put FACE over the other faces from START to END."
  (add-face-text-property start end face))

(defun ingle-markdown--inline (start end)
  "Put faces on the text from START to END, which is no code block."
  (pcase-dolist (`(,pattern ,group ,face)
                 '(("^#\\{1,6\\} .*$" 0 ingle-heading)
                   ("\\*\\*\\([^*\n]+\\)\\*\\*" 1 bold)
                   ("`\\([^`\n]+\\)`" 1 ingle-code)
                   ("^ *\\([-*]\\|[0-9]+[.)]\\) " 1 ingle-markup)
                   ("\\*\\*\\|`" 0 ingle-markup)))
    (goto-char start)
    (while (re-search-forward pattern end t)
      (ingle-markdown--add-face (match-beginning group) (match-end group) face))))

(defun ingle-markdown--colour (start end language)
  "Give the code from START to END the faces of LANGUAGE."
  (let ((mode (ingle-markdown--mode language))
        (code (buffer-substring-no-properties start end))
        (target (current-buffer)))
    (when mode
      (with-temp-buffer
        (insert code)
        ;; A mode that fails costs the colours, no more.
        (when (ignore-errors
                (let ((inhibit-message t) (message-log-max nil))
                  (delay-mode-hooks (funcall mode))
                  (font-lock-ensure))
                t)
          (let ((from (point-min)))
            (while (< from (point-max))
              (let ((to (next-single-property-change from 'face nil (point-max)))
                    (face (get-text-property from 'face)))
                (when face
                  (let ((first (+ start (1- from))) (last (+ start (1- to))))
                    (with-current-buffer target
                      (ingle-markdown--add-face first last face))))
                (setq from to)))))))
    (add-face-text-property start end 'ingle-code-block t)))

(defun ingle-markdown-blocks (start end)
  "The code blocks from START to END.
A list of (FENCE CODE-START CODE-END LANGUAGE).  A block that is not
closed reaches to END."
  (save-excursion
    (goto-char start)
    (cl-loop
     while (re-search-forward "^ \\{0,3\\}\\(```+\\|~~~+\\)[ \t]*\\([^ \t\n`]*\\).*$" end t)
     for fence = (match-beginning 0)
     for mark = (match-string-no-properties 1)
     for language = (match-string-no-properties 2)
     for from = (min end (1+ (line-end-position)))
     for to = (progn
                (goto-char from)
                (if (re-search-forward (format "^ \\{0,3\\}%s+[ \t]*$" (regexp-quote mark))
                                       end t)
                    (match-beginning 0)
                  (goto-char end)
                  end))
     collect (list fence from (max from to) language))))

(defun ingle-markdown-fontify (start end)
  "Put faces on the Markdown from START to END."
  (let ((from start)
        (inhibit-read-only t))
    (save-excursion
      (save-match-data
        (with-silent-modifications
          (pcase-dolist (`(,fence ,code ,code-end ,language)
                         (ingle-markdown-blocks start end))
            (ingle-markdown--inline from fence)
            (ingle-markdown--add-face fence code 'ingle-markup)
            (ingle-markdown--colour code code-end language)
            (goto-char code-end)
            (setq from (min end (1+ (line-end-position))))
            (ingle-markdown--add-face code-end from 'ingle-markup))
          (when (< from end)
            (ingle-markdown--inline from end)))))))

(provide 'ingle-markdown)
;;; ingle-markdown.el ends here
