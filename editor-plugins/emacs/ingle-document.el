;;; ingle-document.el --- Buffers as ingle-lsp knows them  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns what a buffer is to the language server: its URI, positions in it,
;; and the copy that the server has of its text.  Changes are only noted
;; while typing; `ingle--sync' sends them before anything is asked.
;; Applying the server's edits is `ingle-edits'.
;;
;; The note of what changed is two numbers: how many characters at the
;; start and at the end of the buffer are still those of the server's
;; copy.  Both follow from `after-change-functions' alone, so that
;; `before-change-functions', which may speak of another region, is not
;; needed.  If the sizes don't add up the whole text is sent.

;;; Code:

(require 'cl-lib)
(require 'ingle-settings)

(declare-function ingle--connection "ingle-connection")
(declare-function ingle--eglot-connection "ingle-connection")
(declare-function ingle--fact "ingle-connection")
(declare-function ingle-eglot-version "ingle-eglot")
(declare-function ingle-eglot-sync "ingle-eglot")
(declare-function ingle-eglot-uri "ingle-eglot")
(defvar url-path-allowed-chars)
(declare-function jsonrpc-notify "jsonrpc")
(declare-function jsonrpc-running-p "jsonrpc")

(defconst ingle--sync-delay 0.3
  "Seconds of idleness after which changes are sent that nobody asked for.
They matter to edits that are being made: the server moves them along.")

(cl-defstruct (ingle--copy (:constructor ingle--make-copy))
  "The copy of a buffer's text that the server has.
NAME is what the URI was made of.  SIZE and NEWLINES count what was
sent; RETURNS tells of carriage returns in it.  While DIRTY, PREFIX and SUFFIX
characters at the buffer's start and end are unchanged since, and the
buffer should have NOW characters."
  connection uri name version size newlines returns dirty prefix suffix now)

(defvar-local ingle--copy nil
  "What the server has of this buffer, an `ingle--copy'; nil if nothing.")

;;;; Which buffers

(defun ingle--refusal ()
  "Why the server can't have this buffer, a short text; nil if it can."
  (cond ((derived-mode-p 'ingle-chat-mode) "this is a chat")
        ((not enable-multibyte-characters) "this is a binary file")
        ((and buffer-file-name (file-remote-p buffer-file-name))
         "files on other machines are not supported")
        ((buffer-base-buffer) "indirect buffers are not supported")
        ((> (buffer-size) ingle-max-buffer-size)
         (format "this buffer has more than %d characters" ingle-max-buffer-size))
        ((save-excursion
           (save-restriction
             (widen)
             (goto-char (point-min))
             (search-forward "\0" nil t)))
         "this is a binary file")))

(defun ingle--name ()
  "What the URI of this buffer is made of."
  (or buffer-file-name (buffer-name)))

(defun ingle--uri ()
  "The URI of this buffer."
  (if buffer-file-name
      (ingle--file-uri buffer-file-name)
    (concat "untitled:" (url-hexify-string (buffer-name)))))

(defun ingle--file-uri (file)
  "The URI of FILE."
  (require 'url-util)
  (concat (if (eq system-type 'windows-nt) "file:///" "file://")
          (url-hexify-string (file-truename file) url-path-allowed-chars)))

(defun ingle--uri-file (uri)
  "The file that URI names, or nil."
  (when (string-prefix-p "file://" uri)
    (let ((path (decode-coding-string (url-unhex-string (substring uri 7)) 'utf-8)))
      (if (eq system-type 'windows-nt) (string-remove-prefix "/" path) path))))

(defun ingle--uri-buffer (uri &optional visit)
  "The buffer of the document URI, or nil.
With VISIT a file that no buffer visits is opened."
  (let ((file (ingle--uri-file uri)))
    (cond (file (or (find-buffer-visiting file)
                    (and visit (find-file-noselect file))))
          ((string-prefix-p "untitled:" uri)
           (get-buffer (decode-coding-string (url-unhex-string (substring uri 9))
                                             'utf-8))))))

(defun ingle--language-id ()
  "The language of this buffer, as LSP names it."
  (or (alist-get major-mode ingle-language-ids)
      (replace-regexp-in-string "\\(-ts\\)?-mode\\'" "" (symbol-name major-mode))))

;;;; Positions

(defun ingle--text (start end)
  "The text from START to END.
What is no Unicode character (raw bytes, halves of surrogate pairs) is
sent as U+FFFD, so that all positions stay what they are."
  (let ((text (buffer-substring-no-properties start end))
        (pattern "[^\0-\x10ffff]\\|[\xd800-\xdfff]")
        ;; Folding the case of a million characters takes 40 ms whenever Emacs
        ;; compiles the pattern anew.
        (case-fold-search nil))
    (if (or (= (string-bytes text) (length text))
            (not (string-match-p pattern text)))
        text
      (replace-regexp-in-string pattern "\xfffd" text))))

(defun ingle--utf-32-p (connection)
  "Whether positions count characters on CONNECTION, not UTF-16 units."
  (ingle--fact connection :utf-32))

(defun ingle--units (start end connection)
  "The code units from START to END, which are in one line, on CONNECTION."
  (if (ingle--utf-32-p connection)
      (- end start)
    (let ((units (- end start))
          (case-fold-search nil))
      (save-excursion
        (goto-char start)
        (while (re-search-forward "[\x10000-\x10ffff]" end t)
          (setq units (1+ units))))
      units)))

(defun ingle--returns-p ()
  "Whether there is a carriage return: that ends a line in LSP, too."
  (save-excursion
    (goto-char (point-min))
    (search-forward "\r" nil t)))

(defun ingle--line-start (position)
  "Number from 0 and start of the line around POSITION, as LSP counts lines."
  (save-excursion
    (goto-char position)
    (if (not (ingle--returns-p))
        (cons (1- (line-number-at-pos position t)) (line-beginning-position))
      (goto-char (point-min))
      (let ((number 0) (start (point)))
        (while (and (re-search-forward "\r\n\\|[\r\n]" nil t) (<= (point) position))
          (setq number (1+ number) start (point)))
        (cons number start)))))

(defun ingle--position (position connection)
  "POSITION in this buffer as LSP writes it, on CONNECTION."
  (save-restriction
    (widen)
    (let ((line (ingle--line-start position)))
      (list :line (car line)
            :character (ingle--units (cdr line) position connection)))))

(defun ingle--range (start end connection)
  "START to END in this buffer as LSP writes it, on CONNECTION."
  (list :start (ingle--position start connection)
        :end (ingle--position end connection)))

(defun ingle--point (place connection)
  "The position in this buffer of PLACE, an LSP position, on CONNECTION.
What is past the end of its line or of the buffer means that end."
  (save-excursion
    (save-restriction
      (widen)
      (goto-char (point-min))
      (let ((lines (plist-get place :line))
            (units (plist-get place :character))
            (returns (ingle--returns-p)))
        (if (not returns)
            (when (> (forward-line lines) 0)
              (goto-char (point-max)))
          (while (and (> lines 0)
                      (or (re-search-forward "\r\n\\|[\r\n]" nil t)
                          (progn (goto-char (point-max)) nil)))
            (setq lines (1- lines))))
        (let ((end (save-excursion (skip-chars-forward "^\r\n") (point))))
          (if (ingle--utf-32-p connection)
              (min end (+ (point) units))
            (while (and (> units 0) (< (point) end))
              (setq units (- units (if (> (char-after) #xffff) 2 1)))
              (forward-char))
            (point)))))))

;;;; The server's copy

(defun ingle--sync ()
  "Bring the server's copy of this buffer up to date.
Return the connection, or nil when there is none or the buffer is none
for it.  This is what to call before anything is asked of the server."
  (let ((connection (ingle--connection)))
    (cond ((null connection) nil)
          ((eq connection (ingle--eglot-connection))
           (ingle--close)
           (ingle-eglot-sync)
           connection)
          ((and ingle--copy
                (eq (ingle--copy-connection ingle--copy) connection)
                (equal (ingle--copy-name ingle--copy) (ingle--name)))
           (if (> (buffer-size) ingle-max-buffer-size)
               (progn (ingle--close) nil)
             (ingle--send-changes)
             connection))
          ((ingle--refusal) (ingle--close) nil)
          (t (ingle--close)
             (ingle--open connection)
             connection))))

(defun ingle--sync-buffer (buffer)
  "Bring the server's copy of BUFFER up to date, if it has one."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (when ingle--copy
        (ingle--guarded (ingle--sync))))))

(defun ingle--sync-all ()
  "Bring all open documents up to date, for questions about several."
  (mapc #'ingle--sync-buffer (buffer-list)))

(defun ingle--document ()
  "This buffer's identifier and version, as LSP writes them."
  (if (ingle--eglot-connection)
      (list :uri (ingle-eglot-uri) :version (ingle-eglot-version))
    (list :uri (ingle--copy-uri ingle--copy)
          :version (ingle--copy-version ingle--copy))))

(defun ingle--newlines ()
  "Number of newlines in the whole buffer."
  (save-restriction
    (widen)
    (1- (line-number-at-pos (point-max) t))))

(defun ingle--remember-copy (copy)
  "Note in COPY that the server has all of this buffer."
  (save-restriction
    (widen)
    (setf (ingle--copy-size copy) (buffer-size)
          (ingle--copy-now copy) (buffer-size)
          (ingle--copy-newlines copy) (ingle--newlines)
          (ingle--copy-returns copy) (ingle--returns-p)
          (ingle--copy-dirty copy) nil)))

(defun ingle--open (connection)
  "Send this buffer to CONNECTION."
  (let ((copy (ingle--make-copy :connection connection :uri (ingle--uri) :name (ingle--name)
                                :version 1)))
    (jsonrpc-notify
     connection :textDocument/didOpen
     (list :textDocument
           (list :uri (ingle--copy-uri copy) :version 1
                 :languageId (ingle--language-id)
                 :text (save-restriction
                         (widen)
                         (ingle--text (point-min) (point-max))))))
    (ingle--remember-copy copy)
    (setq ingle--copy copy)
    (add-hook 'after-change-functions #'ingle--note-change nil t)
    (add-hook 'after-save-hook #'ingle--saved nil t)
    (add-hook 'kill-buffer-hook #'ingle--close nil t)
    (add-hook 'change-major-mode-hook #'ingle--close nil t)))

(defun ingle--close ()
  "Have the server forget this buffer."
  (when ingle--copy
    (let ((connection (ingle--copy-connection ingle--copy)))
      (when (jsonrpc-running-p connection)
        (jsonrpc-notify connection :textDocument/didClose
                        (list :textDocument
                              (list :uri (ingle--copy-uri ingle--copy))))))
    (setq ingle--copy nil)
    (remove-hook 'after-change-functions #'ingle--note-change t)
    (remove-hook 'after-save-hook #'ingle--saved t)
    (remove-hook 'kill-buffer-hook #'ingle--close t)
    (remove-hook 'change-major-mode-hook #'ingle--close t)))

(defun ingle--saved ()
  "Tell the server that this buffer was saved."
  (ingle--guarded
    (let ((connection (ingle--copy-connection ingle--copy)))
      (when (jsonrpc-running-p connection)
        (ingle--send-changes)
        (jsonrpc-notify connection :textDocument/didSave
                        (list :textDocument
                              (list :uri (ingle--copy-uri ingle--copy))))))))

(defun ingle--note-change (start end old-length)
  "Note that OLD-LENGTH characters at START have become those up to END."
  (let* ((copy ingle--copy)
         (prefix (1- start))
         (suffix (- (buffer-size) (1- end))))
    (when copy
      (if (ingle--copy-dirty copy)
          (setf (ingle--copy-prefix copy) (min prefix (ingle--copy-prefix copy))
                (ingle--copy-suffix copy) (min suffix (ingle--copy-suffix copy)))
        (setf (ingle--copy-dirty copy) t
              (ingle--copy-prefix copy) prefix
              (ingle--copy-suffix copy) suffix)
        (run-with-idle-timer ingle--sync-delay nil #'ingle--sync-buffer
                             (current-buffer)))
      (cl-incf (ingle--copy-now copy) (- end start old-length)))))

(defun ingle--send-changes ()
  "Send what has changed since the server's copy was made."
  (let ((copy ingle--copy))
    (when (or (ingle--copy-dirty copy) (/= (ingle--copy-size copy) (buffer-size)))
      (let ((change (save-restriction (widen) (ingle--change copy))))
        (jsonrpc-notify
         (ingle--copy-connection copy) :textDocument/didChange
         (list :textDocument (list :uri (ingle--copy-uri copy)
                                   :version (cl-incf (ingle--copy-version copy)))
               :contentChanges (vector change)))
        (ingle--remember-copy copy)))))

(defun ingle--change (copy)
  "The one change from COPY to this buffer, which is widened.
Text that was only inserted is sent as it is; otherwise the change
reaches to the end of its last line, because where in its line the old
text ended is not known any more."
  (let* ((connection (ingle--copy-connection copy))
         (size (buffer-size))
         (old-size (ingle--copy-size copy)))
    (if (or (not (ingle--copy-dirty copy))
            (/= size (ingle--copy-now copy))
            (ingle--copy-returns copy)
            (ingle--returns-p))
        (list :text (ingle--text (point-min) (point-max)))
      (let* ((start (1+ (ingle--copy-prefix copy)))
             (end (- (1+ size) (ingle--copy-suffix copy)))
             (from (ingle--position start connection)))
        (if (= (+ (ingle--copy-prefix copy) (ingle--copy-suffix copy)) old-size)
            (list :range (list :start from :end from) :text (ingle--text start end))
          (let* ((next (save-excursion
                         (goto-char end)
                         (and (search-forward "\n" nil t) (point))))
                 (to (if next
                         (list :line (- (ingle--copy-newlines copy)
                                        (- (ingle--newlines)
                                           (1- (line-number-at-pos next t))))
                               :character 0)
                       ;; Past the end of the last line means that end.
                       (list :line (ingle--copy-newlines copy)
                             :character (* 2 old-size)))))
            (list :range (list :start from :end to)
                  :text (ingle--text start (or next (point-max))))))))))

(provide 'ingle-document)
;;; ingle-document.el ends here
